"""Text files of a program of a laboratory (University of Sheffield): sections of `Name = value` lines.

`[ExperimentInfo]` names the animal; each `[Trace_n]` is an average: `TraceName = A1 ABR, 8000, 60` (frequency in Hz,
level in dB), `Counts = steps, averages, step`, `StimInfo_1 = onset, duration, rise, level, frequency, phase` of the
first step, `TraceInfo = T, uV / sweep, samples, start, interval` (times in ms) and the samples in consecutive lines
`TraceData_1`, `TraceData_2`, .... Inferred from files in the public repository fedeceri85/abrWaveAnalyser, whose reader
treats 100 Hz as a click and skips 42001 Hz; no other description of the format is known.

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

INFO = "[ExperimentInfo]"
TRACE = "[Trace_"
DATA = "TraceData_"
CLICK_HZ = 100.0
NO_RESPONSE_HZ = 42_001.0
USUAL_BAND_HZ = (300.0, 3000.0)
MAX_SAMPLES = 2**18


@dataclass
class _Trace:
    """Section of one average: its number and line, its fields with their lines, and its samples."""

    number: int
    line: int
    path: Path
    fields: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    samples: list[float] = field(default_factory=list)
    data_lines: int = 0

    def part(self, name: str, place: int) -> tuple[str, Path, int, str]:
        """Return a part of a field (`place` may be negative) and where it is, as arguments for `number_in`."""
        line, parts = self.fields.get(name, (self.line, []))
        if not -len(parts) <= place < len(parts):
            raise FileError(self.path, f"line {line}", f"a trace without a complete {name!r}", "a complete file")
        return parts[place], self.path, line, name


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the text begins with a section of the program."""
    return head.lstrip().startswith((INFO.encode(), TRACE.encode()))


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Yield every average, in file order; calibrations and noise checks are left out with a note.

    Raises:
        FileError: a field or a sample is missing or is not a number.
    """
    subject: str | None = None
    trace: _Trace | None = None
    for number, line in lines_of(path):
        if line.startswith("["):
            yield from _recordings(trace, subject, options)
            trace = _trace(line, path, number)
            continue
        name, _, text = map(str.strip, line.partition("="))
        if trace is None:
            if name == "Animal ID" and not is_null(text):
                subject = text
        elif name.startswith(DATA):
            _add_samples(trace, name, text, number)
        elif name:
            _add_field(trace, name, text, number)
    yield from _recordings(trace, subject, options)
    if subject is not None:
        options.note("of [ExperimentInfo] the Animal ID alone is read")


def _trace(line: str, path: Path, number: int) -> _Trace | None:
    """Return the trace that begins with the line of a section; None for other sections."""
    if not line.startswith(TRACE):
        return None
    text = line.strip().removeprefix(TRACE).removesuffix("]")
    return _Trace(whole_in(text, path, number, "the number of a trace"), number, path)


def _add_field(trace: _Trace, name: str, text: str, number: int) -> None:
    if name in trace.fields:
        raise FileError(trace.path, f"line {number}", "a repeated field", "each field of a trace once")
    trace.fields[name] = (number, list(map(str.strip, text.split(","))))


def _add_samples(trace: _Trace, name: str, text: str, number: int) -> None:
    trace.data_lines += 1
    if name != f"{DATA}{trace.data_lines}" or len(trace.samples) > MAX_SAMPLES:
        expected = f"{DATA}{trace.data_lines}, and at most {MAX_SAMPLES} samples"
        raise FileError(trace.path, f"line {number}", "another line of samples", expected)
    trace.samples += numbers_in(text.split(","), trace.path, number, "a sample")


def _recordings(trace: _Trace | None, subject: str | None, options: ReadOptions) -> Iterator[Recording]:
    """Yield the recording of a trace, unless it is not a response to a stimulus."""
    if trace is None:
        return
    if trace.part("TraceInfo", 0)[0] != "T":
        options.note("a calibration (not over time) is left out")
        return
    frequency = number_in(*trace.part("TraceName", -2))
    if frequency == NO_RESPONSE_HZ:
        options.note(f"a trace of {NO_RESPONSE_HZ:g} Hz, which stands for a check of the noise, is left out")
        return
    points = whole_in(*trace.part("TraceInfo", 2))
    interval_ms = number_in(*trace.part("TraceInfo", 4))
    scale = uv_per(trace.part("TraceInfo", 1)[0].partition("/")[0])
    if points != len(trace.samples) or not points or not 1e-4 <= interval_ms <= 10 or scale is None:
        unit = "in V, mV, uV or nV"
        if scale is None:
            unit = f"not {unit}"
        found = f"{len(trace.samples)} samples every {interval_ms:g} ms, {unit}"
        expected = f"{points} samples, as 'TraceInfo' states, every 0.0001 to 10 ms, in one of these units"
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
    """Return the columns of the waveform table; the stimulus type only if duration and frequency agree."""
    is_brief = number_in(*trace.part("StimInfo_1", 1)) == 0
    is_click = frequency == CLICK_HZ
    kind = None
    frequency_hz = None
    if is_brief and is_click:
        kind = "click"
    elif not is_brief and not is_click:
        kind = "tone_pip"
        frequency_hz = frequency
    else:
        options.note("neither click nor tone is certain: 100 Hz with a duration, or another frequency without one")
    return {
        "stimulus_type": kind,
        "stimulus_frequency_hz": frequency_hz,
        "stimulus_level_db": number_or_none(*trace.part("TraceName", -1)),
        "n_averages": whole_or_none(*trace.part("Counts", 1)),
        "recording_index": trace.number,
    }


FORMAT = Format(name="sheffield", title="Sheffield laboratory text", recognises=recognises, read=read)
