"""EPL Cochlear Function Test Suite: one run of levels as text, and the tables of analysed peaks beside it.

The header's lines end in CR: `:RUN-3...`, `:SW EAR: R<tab>SW FREQ: 16.00...`, `:LEVELS:10;15;...`, then `:DATA` and one
line a sample in uV, one column a level. From version 3 on it begins with `[STANDARD ABR]`, has `name=value` lines, and
after `[DATA]` a line of titles and columns of the time, of the levels, and of the cochlear microphonic at each level.

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
MAX_LEVELS, MAX_SAMPLES = 200, 2**18
EARS = {"R": "R", "L": "L"}
NO_STIMULUS = "-inf"
RUN, STANDARD = b":RUN-", b"[STANDARD ABR]"
STEP = 6.0
"""Step between two halves of the samples, in usual steps; 9 to 12 in files with two."""


@dataclass(frozen=True)
class _Run:
    """What the header says."""

    levels: Sequence[float | None]
    """In dB [L]; None where nothing was played."""
    n_averages: Sequence[int]
    """[L]."""
    period_us: float
    columns: slice
    """Of the data, those of the levels."""
    n_columns: int
    values: Mapping[str, CellValue]
    """Columns of the waveform table that hold for all levels."""


def recognises(path: Path, head: bytes) -> bool:
    """Whether the text begins with the header of a run and comes to its data."""
    return (head.startswith(RUN) and b":DATA" in head[:HEADER_BYTES]) or head.startswith(STANDARD)


def companions(path: Path) -> list[Path]:
    """The tables of analysed peaks of this file."""
    return sorted(table for table, _, _ in analysed_tables(path))


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """One recording a level, with the peaks of the analysed table where one lies beside the file.

    The mapping gives `rater`, the one whose table is read where there are several.

    Raises:
        FileError: a header field or a sample is missing, or is no number, here or in the analysed table.
        UserError: tables of several raters.
    """
    with path.open("rb") as file:
        head = text_of(file.read(2 * HEADER_BYTES))
    header, data, _ = re.split(r"(:DATA|\[DATA\])", head + ":DATA", maxsplit=1, flags=re.I)
    if len(header) == len(head):
        raise FileError(path, "header", f"no data in the first {HEADER_BYTES} bytes", "a whole file of the EPL CFTS")
    fields = _fields(header)
    run = _standard_run(fields, path) if head.startswith(STANDARD.decode()) else _run(fields, path)
    samples = _samples(path, data, run)[:, run.columns]
    if half_ms := _second_half_ms(samples, run.period_us):
        options.note(
            f"the file has two halves: from {half_ms:g} ms on, CFTS keeps the difference of the polarities, which is "
            "no part of the response; leave it out with --samples"
        )
    analysis = analysis_of(path, run.values, options)
    values = dict(run.values) | {"level_reference": "dB SPL", "native_rate_hz": 1e6 / run.period_us}
    if analysis.threshold_db is not None:
        values |= {"threshold_db": analysis.threshold_db, "threshold_source": "human-rated, from the analysed file"}
    if unmatched := analysis.peaks.keys() - {*run.levels}:
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
    """Text by name, of `:name: text` and of `section.name=text`."""
    fields = {}
    for part in re.split(r"[\r\n\t]+", header):
        name, text = re.match(r"\s*:?([^:=]*)[:=]?(.*)", part).groups()  # type: ignore[union-attr] # matches any text
        fields["SAMPLE" if name.startswith("SAMPLE") else name.strip()] = text.strip()
    return fields


def _run(fields: Mapping[str, str], path: Path) -> _Run:
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
    return _checked(_Run(levels, averages, _number(fields, "SAMPLE", path), slice(None), len(levels), values), path)


def _standard_run(fields: Mapping[str, str], path: Path) -> _Run:
    """Of the header from version 3 on; its names have their section before them, as in `Stimulus.Waveform`."""
    fields = {name.rpartition(".")[2]: text for name, text in fields.items()}
    rate = next((name for name in ("Fs (Hz)", "Sampling rate (Hz)") if name in fields), "Response.Fs (Hz)")
    _require(fields, ("Levels", "Avgs", rate), path)
    stimulus = fields.get("Waveform", "").lower()
    values = _stimulus(stimulus if stimulus in STIMULI else fields.get("Frequency (kHz)", ""), path)
    levels = _levels(fields["Levels"], path)
    averages = _averages(fields["Avgs"], "", len(levels), path)
    period_us, n = 1e6 / (_number(fields, rate, path) or np.nan), len(levels)
    return _checked(_Run(levels, averages, period_us, slice(1, 1 + n), 1 + 2 * n, values), path)


def _checked(run: _Run, path: Path) -> _Run:
    if not 0.1 <= run.period_us <= 1000 or not 0 < len(run.levels) <= MAX_LEVELS:
        found = f"{len(run.levels)} levels, one sample every {run.period_us:g} us"
        raise FileError(path, "header", found, f"1 to {MAX_LEVELS} levels, one sample every 0.1 to 1000 us")
    return run


def _require(fields: Mapping[str, str], names: Sequence[str], path: Path) -> None:
    if missing := [name for name in names if name not in fields]:
        raise FileError(path, "header", f"no {', '.join(sorted(missing))}", "a whole header of the EPL CFTS")


def _stimulus(text: str, path: Path) -> dict[str, CellValue]:
    khz = as_number(text)
    if khz is None and text.lower() not in STIMULI:
        expected = f"a frequency in kHz, or one of {', '.join(STIMULI)}"
        raise FileError(path, "header", "another text as the stimulus (SW FREQ)", expected)
    if khz is None:
        return {"stimulus_type": STIMULI[text.lower()], "stimulus_frequency_hz": None}
    return {"stimulus_type": "tone_pip", "stimulus_frequency_hz": 1e3 * khz}


def _levels(text: str, path: Path) -> list[float | None]:
    texts = re.split(r"[;,\s]+", text.strip("; "))
    return [None if one.lower() == NO_STIMULUS else _number({"level": one}, "level", path) for one in texts]


def _averages(text: str, of_all: str, levels: int, path: Path) -> list[int]:
    """Sweeps of each level; `of_all` where the file does not give them by level."""
    texts = re.split(r"[;,\s]+", text.strip("; ")) if text.strip("; ") else [of_all] * levels
    numbers = [_number({"number of averages": one}, "number of averages", path) for one in texts]
    if len(numbers) != levels or any(not 0 <= number < 2**31 or number % 1 for number in numbers):
        expected = f"{levels} whole numbers of 0 or more, one a level"
        raise FileError(path, "header", f"{len(numbers)} numbers of averages", expected)
    return [int(number) for number in numbers]


def _number(fields: Mapping[str, str], name: str, path: Path) -> float:
    number = as_number(fields[name])
    if number is None:
        raise FileError(path, "header", f"no number as {name}", "a finite number")
    return number


def _samples(path: Path, marker: str, run: _Run) -> NDArray[np.float64]:
    """All columns of the data [T, columns], in uV but for the time."""
    rows: list[list[float]] = []
    in_data = False
    for number, line in lines_of(path):
        if not in_data:
            # The old header's lines end in CR, so that it is one line with the first samples.
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
    """Where the second half of the samples [T, L] begins, where a step between the halves shows that there are two."""
    half, steps = len(samples) // 2, np.abs(np.diff(samples, axis=0))
    usual = np.median(steps, axis=0) if len(steps) else np.zeros(1)
    if half < 2 or not usual.any() or np.median(steps[half - 1, usual > 0] / usual[usual > 0]) < STEP:
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
