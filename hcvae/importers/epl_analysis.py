"""Tables of analysed peaks beside a run of the EPL Cochlear Function Test Suite.

`NAME-analyzed.txt` or `NAME-<kHz>kHz-<rater>-analyzed.txt`, written by the program abr (bburan/abr, BSD-3-Clause); a
negative latency means no peak.

Legend: 5 waves I to V.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcvae.data.table import WAVES
from hcvae.errors import UserError
from hcvae.importers.columns import as_number
from hcvae.importers.lines import Lines, lines_of, number_in
from hcvae.importers.recording import CellValue, FileError, Peaks, ReadOptions

STIMULI = {"click": "click", "clicks": "click", "noise": "noise", "chirp": "chirp", "chirps": "chirp"}
"""Stimulus type by the word in a file name instead of a frequency."""
UNNAMED = "unnamed"
"""Rater of a table whose name gives none."""


@dataclass(frozen=True)
class Analysis:
    """Peaks by level in dB, and the threshold that a rater set."""

    peaks: Mapping[float, Peaks]
    threshold_db: float | None


def analysis_of(path: Path, stimulus: Mapping[str, CellValue], options: ReadOptions) -> Analysis:
    """Read the analysed table of the run `path` and its stimulus; an empty result if there is none.

    Raises:
        FileError: the table is damaged.
        UserError: tables of several raters, or no table of the rater that the mapping `rater` names.
    """
    table = _chosen_table(path, stimulus, options)
    if table is None:
        return Analysis({}, None)
    return _read_analysis(table)


def analysed_tables(path: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield the analysed tables of the run `path`: file, stimulus (in kHz, a word, or empty), rater."""
    for stem in dict.fromkeys((path.name, path.stem)):
        pattern = re.compile(
            rf"{re.escape(stem)}(-(?P<stimulus>[\d.]+(?=kHz)|{'|'.join(STIMULI)})(kHz)?)?(-(?P<rater>[^-]+))?-analyzed\.txt",
            re.IGNORECASE,
        )
        for table in path.parent.iterdir():
            match = pattern.fullmatch(table.name)
            if match and not table.is_symlink() and not path.with_name(f"{stem}-{match['rater']}").exists():
                yield table, (match["stimulus"] or "").lower(), match["rater"] or UNNAMED


def _chosen_table(path: Path, values: Mapping[str, CellValue], options: ReadOptions) -> Path | None:
    """Return the analysed table of the run and its stimulus, of the rater that the mapping names or the only one.

    Raises:
        UserError: tables of several raters, or no table of the rater that the mapping names.
    """
    raters = {}
    for table, stimulus, rater in analysed_tables(path):
        if _is_of(stimulus, values):
            raters[rater] = table
        else:
            options.note("an analysed table of another stimulus is not read")
    wanted = options.mapping.get("rater")
    if wanted in raters:
        return raters[wanted]
    if wanted is not None or len(raters) > 1:
        known = ", ".join(sorted(raters)) or "nobody"
        expected = f"name one rater with --map rater={min(raters, default='NAME')}"
        raise UserError(f"{path}: there are analysed tables of {known}; {expected}")
    return next(iter(raters.values()), None)


def _is_of(stimulus: str, values: Mapping[str, CellValue]) -> bool:
    """Return whether a stimulus in the name of a table is that of the run; an empty one fits any run."""
    khz = as_number(stimulus)
    hz = values["stimulus_frequency_hz"]
    if khz is None or not isinstance(hz, float):
        return not stimulus or STIMULI.get(stimulus) == values["stimulus_type"]
    return abs(1e3 * khz - hz) <= 50.0  # names have one decimal


def _read_analysis(path: Path) -> Analysis:
    lines = lines_of(path)
    threshold_db, titles = _header(lines, path)
    peaks = {}
    for number, line in lines:
        cells = line.rstrip("\t").split("\t")
        if not line.strip():
            continue
        if len(cells) != len(titles):
            raise FileError(path, f"line {number}", f"{len(cells)} columns", f"{len(titles)}, as in the line of titles")
        row = {}
        for name, cell in zip(titles, cells, strict=True):
            row[name] = number_in(cell, path, number, name[:20])
        peaks[row["Level"]] = _peaks(row)
    return Analysis(peaks, threshold_db)


def _header(lines: Lines, path: Path) -> tuple[float | None, list[str]]:
    """Read the lines up to the titles of the columns; return the threshold in dB and the titles."""
    threshold_db = None
    for number, line in lines:
        if line.startswith("Threshold (dB SPL):"):
            threshold_db = _threshold_db(line.partition(":")[2].strip(), path, number)
        if line.startswith("Level\t"):
            return threshold_db, line.rstrip("\t").split("\t")
    raise FileError(path, "whole file", "no line that begins with 'Level'", "a table of analysed peaks")


def _threshold_db(text: str, path: Path, line: int) -> float | None:
    if text in ("None", "nan", "inf", "-inf"):
        return None
    return number_in(text, path, line, "a threshold")


def _peaks(row: Mapping[str, float]) -> Peaks:
    latency = _of_waves(row, "Latency")
    amplitude = _of_waves(row, "Amplitude")
    valid = (latency > 0) & np.isfinite(amplitude)
    return Peaks(np.where(valid, latency, np.nan), np.where(valid, amplitude, np.nan), valid)


def _of_waves(row: Mapping[str, float], quantity: str) -> NDArray[np.float64]:
    """Return a quantity of the peaks of waves I to V [5]; NaN where the table has no column."""
    return np.array([row.get(f"P{wave} {quantity}", np.nan) for wave in range(1, len(WAVES) + 1)])
