"""Waveform tables as evoked responses of MNE-Python (Gramfort et al. 2013, doi 10.3389/fnins.2013.00267)."""

from typing import TYPE_CHECKING

import pyarrow as pa

from hcvae.data.export.contents import Contents
from hcvae.errors import PackageMissing

if TYPE_CHECKING:
    import mne

UV_PER_V = 1e6
CHANNEL = "ABR"


def to_evoked(table: pa.Table) -> "list[mne.EvokedArray]":
    """Each row of a waveform table as an `mne.EvokedArray` of one EEG channel, `ABR`; needs the extra `formats`.

    Data are in V, times in s, with 0 at the stimulus. `nave` is the column `n_averages` where there is one and it is
    known, else 1. `comment` holds the other scalar columns, such as `stimulus_level_db=60, sex=F`.

    Raises:
        UserError: mne is not installed, or a column holds neither the waveform nor one value a row or wave.
    """
    try:
        import mne
    except ImportError as error:
        raise PackageMissing("EvokedArray", "mne", "formats") from error
    contents = Contents.of(table, "to_evoked")
    info = mne.create_info([CHANNEL], contents.sampling_rate_hz, "eeg")
    evoked = []
    for signal_uv, row in zip(contents.signals, contents.scalars.to_pylist(), strict=True):
        nave = _sweeps(row.pop("n_averages", None))
        comment = ", ".join(f"{name}={_text(value)}" for name, value in row.items())
        data_v = signal_uv[None].astype("float64") / UV_PER_V
        evoked.append(mne.EvokedArray(data_v, info.copy(), tmin=0.0, comment=comment, nave=nave, verbose="error"))
    return evoked


def _sweeps(value: object) -> int:
    return round(value) if isinstance(value, float | int) and value >= 1 else 1  # NaN is not


def _text(value: object) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
