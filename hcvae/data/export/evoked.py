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
    """Convert each row of a waveform table to an `mne.EvokedArray` with one EEG channel, `ABR`.

    Data are in V, times in s, with 0 at the stimulus. `nave` is the column `n_averages` if known, else 1. `comment` has
    the other scalar columns, such as `stimulus_level_db=60, sex=F`. Needs the extra `formats`.

    Raises:
        UserError: mne is not installed, or a column has neither the waveform nor one value per row or wave.
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
    if isinstance(value, float | int) and value >= 1:  # False for NaN
        return round(value)
    return 1


def _text(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
