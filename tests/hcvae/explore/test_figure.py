import numpy as np
import pyarrow as pa
import pytest

from hcvae.explore.figure import AXIS, CURRENT_COLOR, DARK, INK, PAPER, REFERENCE_COLORS, figure, peak_rows
from tests.fixtures.contrast import contrast

NAN = float("nan")


@pytest.fixture
def table() -> pa.Table:
    """Two waveforms of 4 ms at 10 kHz; the second has its wave III nowhere, and wave II, which is not marked."""
    signals = np.stack([np.linspace(0, 0.39, 40), np.full(40, -1.0)]).astype(np.float32)
    return pa.table(
        {
            "stimulus_level_db": [80.0, 20.5],
            "sex": [None, "F"],
            "name": ["current", "row 5"],
            "signal": pa.FixedSizeListArray.from_arrays(signals.ravel(), 40),
            "peak_latency_ms": [[1.0, NAN, 2.05, NAN, 3.5], [1.2, 1.9, NAN, NAN, 3.6]],
            "peak_amplitude_uv": [[0.1, NAN, 0.2, NAN, -0.001], [0.3, 0.1, NAN, NAN, 0.5]],
            "peak_valid": [[True, False, True, False, True], [True, True, False, False, True]],
        },
        metadata={"sampling_rate_hz": "10000"},
    )


def test_waveforms_are_in_ms_and_uv_the_current_one_in_front(table):
    drawn = figure(table, (-0.5, 0.5))
    reference, current = (trace for trace in drawn["data"] if trace["mode"] == "lines")
    assert (current["name"], reference["name"]) == ("current", "row 5")
    assert current["x"] == pytest.approx(np.arange(40) / 10)
    assert current["y"] == table["signal"][0].as_py()
    assert "ms" in drawn["layout"]["xaxis"]["title"]["text"]
    assert "µV" in drawn["layout"]["yaxis"]["title"]["text"]
    low, high = drawn["layout"]["yaxis"]["range"]
    assert low < -1.0  # row 5 reaches below the span
    assert high > 0.5


def test_the_title_is_the_condition_of_the_current_waveform(table):
    assert figure(table, (0, 1))["layout"]["title"]["text"] == "stimulus level (dB) 80<br>sex unknown"


def test_peaks_stand_on_the_waveform_at_their_latency(table):
    reference, current = (trace for trace in figure(table, (-0.5, 0.5))["data"] if "markers" in trace["mode"])
    assert current["x"] == [1.0, pytest.approx(2.05), 3.5]
    assert current["y"] == pytest.approx([0.1, 0.205, 0.35])  # the waveform is 0.1 uV a ms
    assert [text.split("<br>") for text in current["text"]] == [
        ["<b>I</b>", "1.00 ms", "0.10 µV"],
        ["<b>III</b>", "2.05 ms", "0.20 µV"],
        ["<b>V</b>", "3.50 ms", "0.00 µV"],
    ]
    assert reference["x"] == pytest.approx([1.2, 3.6])


def test_the_peaks_as_text(table):
    assert peak_rows(table) == [
        ("current", "1.00", "0.10", "2.05", "0.20", "3.50", "0.00", "2.50"),
        ("row 5", "1.20", "0.30", "-", "-", "3.60", "0.50", "2.40"),
    ]


def test_references_differ_in_colour_and_dashes(table):
    many = pa.concat_tables([table.slice(0, 1)] * 31)
    lines = [trace["line"] for trace in figure(many, (0, 1))["data"] if trace["mode"] == "lines"]
    assert len({(line["color"], line["dash"]) for line in lines}) == 31
    assert [line["dash"] for line in lines].count("solid") == 1


def test_lines_have_contrast_on_light_and_dark_pages():
    for color in (CURRENT_COLOR, *REFERENCE_COLORS, INK, AXIS):
        assert contrast(color, PAPER) >= 4
        assert contrast(DARK[color], DARK[PAPER]) >= 4
