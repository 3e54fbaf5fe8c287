"""Text files of a laboratory's own program (University of Sheffield): sections of `Name = value` lines.

`[ExperimentInfo]` names the animal; each `[Trace_n]` is an average: `TraceName = A1 ABR, 8000, 60` (frequency in Hz,
level in dB), `Counts = steps, averages, step`, `StimInfo_1 = onset, duration, rise, level, frequency, phase` of the
first step, `TraceInfo = T, uV / sweep, samples, start, interval` (times in ms) and the samples in consecutive lines
`TraceData_1`, `TraceData_2`, .... Inferred from files of the public repository fedeceri85/abrWaveAnalyser, whose reader
treats 100 Hz as a click and 42001 Hz as no recording of a response; nothing else describes the format.

Legend: T samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hcvae.importers.cells import is_null
from hcvae.importers.lines import lines_of, number_in, number_or_none, numbers_in, whole_in, whole_or_none
from hcvae.importers.recording import CellValue, FileError, ReadOptions, Recording
from hcvae.importers.registry import Format
from hcvae.importers.units import uv_per

INFO, TRACE, DATA = "[ExperimentInfo]", "[Trace_", "TraceData_"
CLICK_HZ, NO_RESPONSE_HZ = 100.0, 42_001.0
USUAL_BAND_HZ = (300.0, 3000.0)
MAX_SAMPLES = 2**18


@dataclass
class _Trace:
    """A section: its number and line, its fields with their lines, and its samples."""

    number: int
    line: int
    path: Path
    fields: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    samples: list[float] = field(default_factory=list)
    data_lines: int = 0

    def part(self, name: str, place: int) -> tuple[str, Path, int, str]:
        """The part of a field at `place`, from the end where it is negative, and where it stands."""
        line, parts = self.fields.get(name, (self.line, []))
        if not -len(parts) <= place < len(parts):
            raise FileError(self.path, f"line {line}", f"a trace without a whole {name!r}", "a whole file")
        return parts[place], self.path, line, name


def recognises(path: Path, head: bytes) -> bool:
    """Whether the text begins with a section of the program."""
    return head.lstrip().startswith((INFO.encode(), TRACE.encode()))


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Every average, in the order of the file; calibrations and checks of the noise are left out with a note.

    Raises:
        FileError: a field or a sample is missing, or is no number.
    """
    subject: str | None = None
    trace: _Trace | None = None
    for number, line in lines_of(path):
        if line.startswith("["):
            yield from _recordings(trace, subject, options)
            trace = _Trace(_trace_number(line, path, number), number, path) if line.startswith(TRACE) else None
            continue
        name, _, text = (part.strip() for part in line.partition("="))
        if trace is None:
            subject = text if name == "Animal ID" and not is_null(text) else subject
        elif name.startswith(DATA):
            _add_samples(trace, name, text, number)
        elif trace.fields.setdefault(name, (number, [part.strip() for part in text.split(",")]))[0] != number and name:
            raise FileError(path, f"line {number}", "a field for the second time", "each field of a trace once")
    yield from _recordings(trace, subject, options)
    if subject is not None:
        options.note("of [ExperimentInfo] the Animal ID alone is read")


def _trace_number(line: str, path: Path, number: int) -> int:
    return whole_in(line.strip().removeprefix(TRACE).removesuffix("]"), path, number, "the number of a trace")


def _add_samples(trace: _Trace, name: str, text: str, number: int) -> None:
    trace.data_lines += 1
    if name != f"{DATA}{trace.data_lines}" or len(trace.samples) > MAX_SAMPLES:
        expected = f"{DATA}{trace.data_lines}, and at most {MAX_SAMPLES} samples"
        raise FileError(trace.path, f"line {number}", "another line of samples", expected)
    trace.samples += numbers_in(text.split(","), trace.path, number, "a sample")


def _recordings(trace: _Trace | None, subject: str | None, options: ReadOptions) -> Iterator[Recording]:
    """The recording of a trace; none where it is no response to a stimulus."""
    if trace is None:
        return
    if trace.part("TraceInfo", 0)[0] != "T":
        options.note("a calibration (not over time) is left out")
        return
    frequency = number_in(*trace.part("TraceName", -2))
    if frequency == NO_RESPONSE_HZ:
        options.note(f"a trace of {NO_RESPONSE_HZ:g} Hz, which stands for a check of the noise, is left out")
        return
    points, interval_ms = whole_in(*trace.part("TraceInfo", 2)), number_in(*trace.part("TraceInfo", 4))
    scale = uv_per(trace.part("TraceInfo", 1)[0].partition("/")[0])
    if points != len(trace.samples) or not points or not 1e-4 <= interval_ms <= 10 or scale is None:
        found = f"{len(trace.samples)} samples every {interval_ms:g} ms, {'in' if scale else 'not in'} V, mV, uV or nV"
        expected = f"{points} samples, as 'TraceInfo' says, every 0.0001 to 10 ms, in one of these units"
        raise FileError(trace.path, f"line {trace.line}", found, expected)
    rate_hz = float(f"{1e3 / interval_ms:.9g}")
    yield Recording(
        signal_uv=np.array(trace.samples) * scale,
        sampling_rate_hz=rate_hz,
        start_ms=number_in(*trace.part("TraceInfo", 3)),
        values=_values(trace, frequency, options) | {"native_rate_hz": rate_hz},
        subject=subject,
        peaks=None,
        usual_band_hz=USUAL_BAND_HZ,
    )


def _values(trace: _Trace, frequency: float, options: ReadOptions) -> dict[str, CellValue]:
    is_brief = number_in(*trace.part("StimInfo_1", 1)) == 0
    kind: str | None = "click" if is_brief else "tone_pip"
    if is_brief != (frequency == CLICK_HZ):
        kind = None
        options.note("neither click nor tone is certain: 100 Hz with a duration, or another frequency without one")
    return {
        "stimulus_type": kind,
        "stimulus_frequency_hz": frequency if kind == "tone_pip" else None,
        "stimulus_level_db": number_or_none(*trace.part("TraceName", -1)),
        "n_averages": whole_or_none(*trace.part("Counts", 1)),
        "recording_index": trace.number,
    }


FORMAT = Format(name="sheffield", title="Sheffield laboratory text", recognises=recognises, read=read)
