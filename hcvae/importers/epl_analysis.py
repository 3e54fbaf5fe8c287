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

from hcvae.data.table import WAVES
from hcvae.errors import UserError
from hcvae.importers.columns import as_number
from hcvae.importers.lines import lines_of, number_in
from hcvae.importers.recording import CellValue, FileError, Peaks, ReadOptions

STIMULI = {"click": "click", "clicks": "click", "noise": "noise", "chirp": "chirp", "chirps": "chirp"}
"""Stimulus type by the word in place of a frequency."""
UNNAMED = "unnamed"
"""The rater of a table that names none."""


@dataclass(frozen=True)
class Analysis:
    """Peaks by level in dB, and the threshold that a person set."""

    peaks: Mapping[float, Peaks]
    threshold_db: float | None


def analysis_of(path: Path, stimulus: Mapping[str, CellValue], options: ReadOptions) -> Analysis:
    """What the analysed table of the run `path` and its stimulus holds; nothing where there is none.

    Raises:
        FileError: the table is damaged.
        UserError: tables of several raters, or none of the one that the mapping `rater` names.
    """
    table = _chosen_table(path, stimulus, options)
    return _read_analysis(table) if table else Analysis({}, None)


def analysed_tables(path: Path) -> Iterator[tuple[Path, str, str]]:
    """The analysed tables of the run `path`: file, stimulus (a frequency in kHz or a word; may be empty), rater."""
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
    """The analysed table of this file and its stimulus; of the rater that the mapping names.

    Raises:
        UserError: tables of several raters, or none of the one that the mapping names.
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
    khz, hz = as_number(stimulus), values["stimulus_frequency_hz"]
    if khz is None or not isinstance(hz, float):
        return not stimulus or STIMULI.get(stimulus) == values["stimulus_type"]
    return abs(1e3 * khz - hz) <= 50.0  # names have one decimal


def _read_analysis(path: Path) -> Analysis:
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
    return Analysis(peaks, threshold)


def _peaks(row: Mapping[str, float]) -> Peaks:
    waves = range(1, len(WAVES) + 1)
    latency = np.array([row.get(f"P{wave} Latency", np.nan) for wave in waves])
    amplitude = np.array([row.get(f"P{wave} Amplitude", np.nan) for wave in waves])
    valid = (latency > 0) & np.isfinite(amplitude)
    return Peaks(np.where(valid, latency, np.nan), np.where(valid, amplitude, np.nan), valid)
