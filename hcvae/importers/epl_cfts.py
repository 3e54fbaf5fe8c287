"""EPL Cochlear Function Test Suite: one run of levels as text, and the tables of analysed peaks beside it.

Header lines end in CR: `:RUN-3...`, `:SW EAR: R<tab>SW FREQ: 16.00...`, `:LEVELS:10;15;...`, then `:DATA` and one line
for each sample in uV, with one column for each level. From version 3 on the file begins with `[STANDARD ABR]`, has
`name=value` lines, and after `[DATA]` a line of titles and columns of the time, of the levels, and of the cochlear
microphonic at each level.

Legend: L levels, T samples.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcvae.importers.columns import as_number
from hcvae.importers.epl_analysis import STIMULI, analysed_tables, analysis_of
from hcvae.importers.lines import lines_of, numbers_in, text_of
from hcvae.importers.recording import CellValue, FileError, ReadOptions, Recording
from hcvae.importers.registry import Format

HEADER_BYTES = 8192
USUAL_BAND_HZ = (100.0, 3000.0)
MAX_LEVELS = 200
MAX_SAMPLES = 2**18
EARS = {"R": "R", "L": "L"}
NO_STIMULUS = "-inf"
RUN = b":RUN-"
STANDARD = b"[STANDARD ABR]"
MIN_STEP = 6.0
"""Smallest step between two halves of the samples, in usual steps; it is 9 to 12 in files with two halves."""


@dataclass(frozen=True)
class _Run:
    """Content of the header."""

    levels: Sequence[float | None]
    """In dB [L]; None without a stimulus."""
    n_averages: Sequence[int]
    """Sweeps of each level [L]."""
    period_us: float
    columns: slice
    """Columns of the levels in the data."""
    n_columns: int
    """Number of all columns in the data."""
    values: Mapping[str, CellValue]
    """Columns of the waveform table with one value for all levels."""


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the text begins with the header of a run, followed by its data."""
    if head.startswith(STANDARD):
        return True
    return head.startswith(RUN) and b":DATA" in head[:HEADER_BYTES]


def companions(path: Path) -> list[Path]:
    """Return the tables of analysed peaks of this file."""
    return sorted(table for table, _, _ in analysed_tables(path))


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Yield one recording for each level, with the peaks of an analysed table beside the file.

    The mapping gives `rater`, whose table is read if there are several.

    Raises:
        FileError: a header field or a sample is missing or is not a number, here or in the analysed table.
        UserError: tables of several raters.
    """
    with path.open("rb") as file:
        head = text_of(file.read(2 * HEADER_BYTES))
    header, marker, _ = re.split(r"(:DATA|\[DATA\])", head + ":DATA", maxsplit=1, flags=re.I)
    if len(header) == len(head):  # the marker is the one that was just added
        raise FileError(path, "header", f"no data in the first {HEADER_BYTES} bytes", "a complete EPL CFTS file")
    fields = _fields(header)
    read_run = _run
    if head.startswith(STANDARD.decode()):
        read_run = _standard_run
    run = read_run(fields, path)
    samples = _samples(path, marker, run)[:, run.columns]
    half_ms = _second_half_ms(samples, run.period_us)
    if half_ms is not None:
        options.note(
            f"the file has two halves: from {half_ms:g} ms on, CFTS keeps the difference of the polarities, which is "
            "not part of the response; leave it out with --samples"
        )
    yield from _recordings(path, run, samples, options)


def _recordings(path: Path, run: _Run, samples: NDArray[np.float64], options: ReadOptions) -> Iterator[Recording]:
    """Yield the recordings of the samples [T, L], with the peaks and the threshold of an analysed table."""
    analysis = analysis_of(path, run.values, options)
    values = dict(run.values) | {"level_reference": "dB SPL", "native_rate_hz": 1e6 / run.period_us}
    if analysis.threshold_db is not None:
        values |= {"threshold_db": analysis.threshold_db, "threshold_source": "human-rated, from the analysed file"}
    unmatched = analysis.peaks.keys() - set(run.levels)
    if unmatched:
        options.note(f"analysed table: peaks of {len(unmatched)} levels are not read, as the run has no such levels")
    for level, averages, signal in zip(run.levels, run.n_averages, samples.T, strict=True):
        if level is None:
            options.note("a column without a stimulus (level -Inf) is left out")
            continue
        yield Recording(
            signal_uv=signal,
            sampling_rate_hz=1e6 / run.period_us,
            start_ms=0.0,
            values=values | {"stimulus_level_db": level, "n_averages": averages, "recording_index": 1},
            subject=None,
            peaks=analysis.peaks.get(level),
            usual_band_hz=USUAL_BAND_HZ,
        )


def _fields(header: str) -> dict[str, str]:
    """Return texts by name, from `:name: text` and from `section.name=text`."""
    fields = {}
    for part in re.split(r"[\r\n\t]+", header):
        name, text = re.match(r"\s*:?([^:=]*)[:=]?(.*)", part).groups()  # type: ignore[union-attr] # matches any text
        if name.startswith("SAMPLE"):
            name = "SAMPLE"
        fields[name.strip()] = text.strip()
    return fields


def _run(fields: Mapping[str, str], path: Path) -> _Run:
    """Return the run of a header before version 3."""
    _require(fields, ("LEVELS", "SAMPLE", "SW FREQ", "REP RATE (/sec)", "# AVERAGES"), path)
    if fields.get("Vary signal level", "true").lower() == "false":
        raise FileError(path, "header", "the levels of a masker (Vary signal level: false)", "levels of the stimulus")
    values = _stimulus(fields["SW FREQ"], path) | {
        "ear": EARS.get(fields.get("SW EAR", "")),
        "stimulus_rate_hz": _number(fields, "REP RATE (/sec)", path),
    }
    threshold = as_number(fields.get("Threshold"))
    if threshold is not None:
        values |= {"threshold_db": threshold, "threshold_source": "automatic, in the header of the file"}
    levels = _levels(fields["LEVELS"], path)
    averages = _averages(fields.get("Avgs", ""), fields["# AVERAGES"], len(levels), path)
    period_us = _number(fields, "SAMPLE", path)
    return _checked(_Run(levels, averages, period_us, slice(None), len(levels), values), path)


def _standard_run(fields: Mapping[str, str], path: Path) -> _Run:
    """Return the run of a header from version 3 on, whose names include their section, as in `Stimulus.Waveform`."""
    fields = {name.rpartition(".")[2]: text for name, text in fields.items()}
    rate = "Response.Fs (Hz)"  # for the message if there is none
    for name in ("Sampling rate (Hz)", "Fs (Hz)"):
        if name in fields:
            rate = name
    _require(fields, ("Levels", "Avgs", rate), path)
    stimulus = fields.get("Waveform", "").lower()
    if stimulus not in STIMULI:
        stimulus = fields.get("Frequency (kHz)", "")
    values = _stimulus(stimulus, path)
    levels = _levels(fields["Levels"], path)
    averages = _averages(fields["Avgs"], "", len(levels), path)
    period_us = 1e6 / (_number(fields, rate, path) or np.nan)
    n = len(levels)
    return _checked(_Run(levels, averages, period_us, slice(1, 1 + n), 1 + 2 * n, values), path)


def _checked(run: _Run, path: Path) -> _Run:
    """Return the run after a check of its levels and its sampling period."""
    if not 0.1 <= run.period_us <= 1000 or not 0 < len(run.levels) <= MAX_LEVELS:
        found = f"{len(run.levels)} levels, one sample every {run.period_us:g} us"
        raise FileError(path, "header", found, f"1 to {MAX_LEVELS} levels, one sample every 0.1 to 1000 us")
    return run


def _require(fields: Mapping[str, str], names: Sequence[str], path: Path) -> None:
    missing = sorted(set(names) - fields.keys())
    if missing:
        raise FileError(path, "header", f"no {', '.join(missing)}", "a complete EPL CFTS header")


def _stimulus(text: str, path: Path) -> dict[str, CellValue]:
    """Return type and frequency of a stimulus: a word, or a frequency in kHz."""
    khz = as_number(text)
    if khz is None and text.lower() not in STIMULI:
        expected = f"a frequency in kHz, or one of {', '.join(STIMULI)}"
        raise FileError(path, "header", "another text as the stimulus (SW FREQ)", expected)
    if khz is None:
        return {"stimulus_type": STIMULI[text.lower()], "stimulus_frequency_hz": None}
    return {"stimulus_type": "tone_pip", "stimulus_frequency_hz": 1e3 * khz}


def _levels(text: str, path: Path) -> list[float | None]:
    """Return the levels in dB [L]; None without a stimulus."""
    levels: list[float | None] = []
    for level in _parts(text):
        if level.lower() == NO_STIMULUS:
            levels.append(None)
        else:
            levels.append(_finite(level, "level", path))
    return levels


def _averages(text: str, of_all: str, levels: int, path: Path) -> list[int]:
    """Return the sweeps of each level [L]; `of_all` if the file does not give them by level."""
    texts = [of_all] * levels
    if text.strip("; "):
        texts = _parts(text)
    numbers = [_finite(part, "number of averages", path) for part in texts]
    if len(numbers) != levels or not all(map(_is_count, numbers)):
        expected = f"{levels} whole numbers of 0 or more, one a level"
        raise FileError(path, "header", f"{len(numbers)} numbers of averages", expected)
    return list(map(int, numbers))


def _is_count(number: float) -> bool:
    return 0 <= number < 2**31 and number.is_integer()


def _parts(text: str) -> list[str]:
    """Split a list with semicolons, commas or white space."""
    return re.split(r"[;,\s]+", text.strip("; "))


def _number(fields: Mapping[str, str], name: str, path: Path) -> float:
    return _finite(fields[name], name, path)


def _finite(text: str, name: str, path: Path) -> float:
    number = as_number(text)
    if number is None:
        raise FileError(path, "header", f"no number as {name}", "a finite number")
    return number


def _samples(path: Path, marker: str, run: _Run) -> NDArray[np.float64]:
    """Return all columns of the data [T, columns]: in uV, except the time."""
    rows: list[list[float]] = []
    in_data = False
    for number, line in lines_of(path):
        if not in_data:
            # Lines of the old header end in CR, so it is one line with the first samples.
            _, found, line = line.partition(marker)
            in_data = bool(found)
        cells = line.split()
        if not cells or (not rows and run.columns.start and as_number(cells[0]) is None):
            continue  # an empty line, or the titles of the columns
        if len(cells) != run.n_columns or len(rows) >= MAX_SAMPLES:
            expected = f"{run.n_columns}, in at most {MAX_SAMPLES} samples"
            raise FileError(path, f"line {number}", f"{len(cells)} columns in sample {len(rows) + 1}", expected)
        rows.append(numbers_in(cells, path, number, "a sample"))
    if not rows:
        raise FileError(path, "whole file", "no samples", f"one line a sample after {marker!r}")
    return np.array(rows)


def _second_half_ms(samples: NDArray[np.float64], period_us: float) -> float | None:
    """Return the start of the second half of the samples [T, L]; None without a large step between the halves."""
    half = len(samples) // 2
    if half < 2:
        return None
    steps = np.abs(np.diff(samples, axis=0))
    usual = np.median(steps, axis=0)
    varies = usual > 0
    if not varies.any() or np.median(steps[half - 1, varies] / usual[varies]) < MIN_STEP:
        return None
    return half * period_us / 1e3


FORMAT = Format(
    name="epl-cfts",
    title="EPL CFTS text",
    recognises=recognises,
    read=read,
    companions=companions,
    mapping_names=frozenset({"rater"}),
)
