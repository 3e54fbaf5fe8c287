"""EPL Cochlear Function Test Suite: one run of levels as text, and the table of analysed peaks beside it.

The header's lines may end in CR: `:RUN-3...`, `:SW EAR: R<tab>SW FREQ: 16.00...`, `:LEVELS:10;15;...`, then `:DATA` and
one line a sample in uV, one column a level. The analysed table, `NAME-analyzed.txt` or `NAME-<kHz>kHz-analyzed.txt`, is
that of the program abr (bburan/abr, BSD-3-Clause); a negative latency there means no peak.

Legend: L levels, T samples, 5 waves I to V.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcvae.data.table import WAVES
from hcvae.importers.lines import lines_of, number_in, numbers_in, text_of, whole_in
from hcvae.importers.recording import FileError, Peaks, ReadOptions, Recording, Value
from hcvae.importers.registry import Format

HEADER_BYTES = 8192
USUAL_BAND_HZ = (100.0, 3000.0)
MAX_LEVELS, MAX_SAMPLES = 200, 2**18
EARS = {"R": "R", "L": "L"}


@dataclass(frozen=True)
class _Analysis:
    """Peaks by level in dB, and the threshold that a person set."""

    peaks: Mapping[float, Peaks]
    threshold_db: float | None


def recognises(path: Path, head: bytes) -> bool:
    """Whether the text begins with the header of a run and comes to its data."""
    return head.startswith(b":RUN-") and b":DATA" in head[:HEADER_BYTES]


def companions(path: Path) -> list[Path]:
    """The table of analysed peaks: that of this file, or of this file and its one frequency."""
    pattern = re.compile(re.escape(path.name) + r"(-[\d.]+kHz)?-analyzed\.txt")
    return sorted(p for p in path.parent.iterdir() if pattern.fullmatch(p.name) and not p.is_symlink())


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """One recording a level, with the peaks of the analysed table where one lies beside the file.

    Raises:
        FileError: a header field or a sample is missing, or is no number, here or in the analysed table.
    """
    with path.open("rb") as file:
        head = text_of(file.read(2 * HEADER_BYTES))
    header, data, _ = head.partition(":DATA")
    if not data:
        raise FileError(path, "header", f"no ':DATA' in the first {HEADER_BYTES} bytes", "a whole file of the EPL CFTS")
    fields = _fields(header, path)
    levels = [number_in(text, path, 1, "a level") for text in fields["LEVELS"].strip("; ").split(";")]
    period_us = number_in(fields["SAMPLE"], path, 1, "SAMPLE (µsec)")
    if not 0.1 <= period_us <= 1000 or not 0 < len(levels) <= MAX_LEVELS:
        found = f"{len(levels)} levels, one sample every {period_us:g} us"
        raise FileError(path, "header", found, f"1 to {MAX_LEVELS} levels, one sample every 0.1 to 1000 us")
    samples = _samples(path, len(levels))
    khz = number_in(fields["SW FREQ"], path, 1, "SW FREQ")
    analysis = _analysis(path, khz)
    values: dict[str, Value] = {
        "ear": EARS.get(fields.get("SW EAR", "")),
        "stimulus_type": "tone_pip",
        "stimulus_frequency_hz": 1e3 * khz,
        "level_reference": "dB SPL",
        "stimulus_rate_hz": number_in(fields["REP RATE (/sec)"], path, 1, "REP RATE"),
        "n_averages": whole_in(fields["# AVERAGES"], path, 1, "# AVERAGES"),
        "recording_index": 1,
        "native_rate_hz": 1e6 / period_us,
        "threshold_db": analysis.threshold_db,
    }
    for level, signal in zip(levels, samples.T, strict=True):
        yield Recording(
            signal_uv=signal,
            sampling_rate_hz=1e6 / period_us,
            start_ms=0.0,
            values=values | {"stimulus_level_db": level},
            subject=None,
            peaks=analysis.peaks.get(level),
            usual_band_hz=USUAL_BAND_HZ,
        )


def _fields(header: str, path: Path) -> dict[str, str]:
    parts = (part.lstrip(":").partition(":") for part in re.split(r"[\r\n\t]+", header))
    fields = {name.strip(): text.strip() for name, _, text in parts if name.strip()}
    fields = {("SAMPLE" if name.startswith("SAMPLE") else name): text for name, text in fields.items()}
    missing = {"LEVELS", "SAMPLE", "SW FREQ", "REP RATE (/sec)", "# AVERAGES"} - fields.keys()
    if missing:
        raise FileError(path, "header", f"no {', '.join(sorted(missing))}", "a whole header of the EPL CFTS")
    return fields


def _samples(path: Path, levels: int) -> NDArray[np.float64]:
    """[T, L] in uV."""
    rows: list[list[float]] = []
    in_data = False
    for number, line in lines_of(path):
        if not in_data:
            # The samples may begin on the line of the marker.
            _, marker, line = line.partition(":DATA")
            in_data = bool(marker)
        cells = line.split()
        if not cells:
            continue
        if len(cells) != levels or len(rows) >= MAX_SAMPLES:
            right = f"{levels}, one a level, in at most {MAX_SAMPLES} samples"
            raise FileError(path, f"line {number}", f"{len(cells)} columns in sample {len(rows) + 1}", right)
        rows.append(numbers_in(cells, path, number, "a sample"))
    if not rows:
        raise FileError(path, "whole file", "no samples", "one line a sample after ':DATA'")
    return np.array(rows)


def _analysis(path: Path, khz: float) -> _Analysis:
    """What the analysed table of this file, or of this file and frequency, says; nothing where there is none."""
    names = (f"{path.name}-analyzed.txt", f"{path.name}-{khz:.1f}kHz-analyzed.txt")
    beside = [table for table in companions(path) if table.name in names]
    return _read_analysis(beside[0]) if beside else _Analysis({}, None)


def _read_analysis(path: Path) -> _Analysis:
    lines = lines_of(path)
    threshold, titles = None, None
    for number, line in lines:
        if line.startswith("Threshold (dB SPL):"):
            text = line.partition(":")[2].strip()
            threshold = None if text in ("None", "nan", "inf", "-inf") else number_in(text, path, number, "a threshold")
        if line.startswith("Level\t"):
            titles = line.rstrip("\t").split("\t")
            break
    if titles is None:
        raise FileError(path, "whole file", "no line that begins with 'Level'", "a table of analysed peaks")
    peaks = {}
    for number, line in lines:
        cells = line.rstrip("\t").split("\t")
        if not line.strip():
            continue
        if len(cells) != len(titles):
            raise FileError(path, f"line {number}", f"{len(cells)} columns", f"{len(titles)}, as in the line of titles")
        row = {name: number_in(cell, path, number, name[:20]) for name, cell in zip(titles, cells, strict=True)}
        peaks[row["Level"]] = _peaks(row)
    return _Analysis(peaks, threshold)


def _peaks(row: Mapping[str, float]) -> Peaks:
    waves = range(1, len(WAVES) + 1)
    latency = np.array([row.get(f"P{wave} Latency", np.nan) for wave in waves])
    amplitude = np.array([row.get(f"P{wave} Amplitude", np.nan) for wave in waves])
    valid = (latency > 0) & np.isfinite(amplitude)
    return Peaks(np.where(valid, latency, np.nan), np.where(valid, amplitude, np.nan), valid)


FORMAT = Format(
    name="epl-cfts",
    title="EPL CFTS text",
    recognises=recognises,
    read=read,
    companions=companions,
    mapping_names=frozenset({"rater"}),
)
