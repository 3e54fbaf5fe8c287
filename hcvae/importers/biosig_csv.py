"""TDT BioSig CSV exports: one record a line, its samples in uV at the end.

After an optional title come a line of column names, which begins `SGI,Rec No.,Gain,No. Avgs,No. Arts`, and the records.
The stimulus variables bear their units, as in `Freq(Hz)` and `Level(dB)`; the samples follow the column `Data(uv)...`.

Legend: T samples.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hcvae.importers.biosig_text import USUAL_BAND_HZ
from hcvae.importers.columns import as_number
from hcvae.importers.lines import lines_of, number_in, whole_in
from hcvae.importers.recording import FileError, ReadOptions, Recording, Value
from hcvae.importers.registry import Format

FIRST = "SGI,Rec No.,Gain,No. Avgs,No. Arts"
DATA = "Data(uv)..."
NEEDED = ("Rec No.", "No. Avgs", "No. Arts", "Sub. ID", "Samp. Per.", "No. Samps.", "O.S. Time", DATA)
MAX_TITLE_LINES = 10


def recognises(path: Path, head: bytes) -> bool:
    """Whether one of the first lines is that of the column names."""
    return any(line.startswith(FIRST.encode()) for line in head.split(b"\n")[: MAX_TITLE_LINES + 1])


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Every record, in the order of the file; the mapping may give `start_ms`, the time of the first sample.

    Raises:
        FileError: a column is missing, or is no number, or a record holds another number of samples than it says.
    """
    lines = lines_of(path)
    place = _columns(lines, path)
    start_ms = as_number(options.mapping.get("start_ms"))
    found = False
    for number, line in lines:
        if line.strip():
            yield _recording(_cells(line, number, path), number, place, start_ms, path)
            found = True
    if not found:
        raise FileError(path, "whole file", "no records", "one record a line after that of the column names")


def _columns(lines: Iterator[tuple[int, str]], path: Path) -> dict[str, int]:
    for number, line in lines:
        if line.startswith(FIRST):
            titles = [title.strip() for title in _cells(line, number, path)]
            if missing := [name for name in NEEDED if name not in titles]:
                raise FileError(path, f"line {number}", f"no column {', '.join(missing)}", "a whole export of BioSig")
            return {title: at for at, title in reversed([*enumerate(titles)])}
        if number > MAX_TITLE_LINES:
            break
    raise FileError(path, "header", f"no line that begins with {FIRST!r}", "a CSV export of BioSig")


def _cells(line: str, number: int, path: Path) -> list[str]:
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise FileError(path, f"line {number}", "a line that is no CSV", "quoted text closed") from error


def _recording(cells: list[str], line: int, place: dict[str, int], start_ms: float | None, path: Path) -> Recording:
    def text(name: str) -> str:
        if place[name] >= len(cells):
            raise FileError(path, f"line {line}", f"{len(cells)} cells, none of {name}", "a whole record")
        return cells[place[name]].strip()

    def whole(name: str) -> int:
        return whole_in(text(name), path, line, name)

    samples = [cell for cell in cells[place[DATA] + 1 :] if cell.strip()]
    if len(samples) != whole("No. Samps.") or not samples:
        raise FileError(path, f"line {line}", f"{len(samples)} samples", f"{whole('No. Samps.')}, as 'No. Samps.' says")
    period_us = number_in(text("Samp. Per."), path, line, "Samp. Per.")
    if not 0.1 <= period_us <= 10_000:
        raise FileError(path, f"line {line}", f"a sampling period of {period_us:g} us", "0.1 to 10000")
    stimulus = {name: number_in(text(name), path, line, name) for name in place if re.match(r"(Freq|Level)\(", name)}
    frequency = stimulus.get("Freq(Hz)", 1e3 * stimulus.get("Freq(kHz)", 0.0)) or None
    values: dict[str, Value] = {
        "stimulus_type": "click" if frequency is None else "tone_pip",
        "stimulus_frequency_hz": frequency,
        "stimulus_level_db": stimulus.get("Level(dB)"),
        "n_averages": whole("No. Avgs"),
        "n_artifacts": whole("No. Arts"),
        "recording_index": whole("Rec No."),
        "native_rate_hz": 1e6 / period_us,
    }
    return Recording(
        signal_uv=np.array([number_in(sample, path, line, "a sample") for sample in samples]),
        sampling_rate_hz=1e6 / period_us,
        start_ms=number_in(text("O.S. Time"), path, line, "O.S. Time") if start_ms is None else start_ms,
        values=values,
        subject=text("Sub. ID") or None,
        peaks=None,
        usual_band_hz=USUAL_BAND_HZ,
        channel=text("Chan") or None if "Chan" in place else None,
    )


FORMAT = Format(
    name="biosig-csv",
    title="TDT BioSig CSV",
    recognises=recognises,
    read=read,
    mapping_names=frozenset({"signal", "start_ms"}),
    channel_choice="signal",
)
