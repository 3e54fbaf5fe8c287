"""The page in a process of its own, as a user starts it, in a browser, by keyboard."""

import signal
import socket
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, Page, expect

from hcvae.bundle import load
from hcvae.data.normative import Condition, wave_latency_ms
from hcvae.data.table import signals_of

pytestmark = pytest.mark.services

ROWS = "#peaks tbody tr"
TRACES = """() => document.querySelector("#waveform .js-plotly-plot").data
    .filter(trace => trace.mode === "lines").map(trace => ({name: trace.name, x: trace.x, y: trace.y}))"""


@pytest.fixture
def opened(served, browser: Browser) -> tuple[Page, list[str]]:
    """The page at its start, and the addresses that it asked for."""
    requests: list[str] = []
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.on("request", lambda request: requests.append(request.url))
    page.goto(served[1])
    expect(page.locator(ROWS)).to_have_count(1)
    page.locator("#waveform .scatterlayer .lines path").first.wait_for()
    return page, requests


def set_level(page: Page, level_db: int) -> None:
    """Move the slider by its keys, to its start, which is 10 dB, and on by steps of 10 dB; wait for the page."""
    slider = page.get_by_role("slider", name="stimulus level (dB)")
    slider.focus()
    page.keyboard.press("Home")
    for _ in range(level_db // 10 - 1):
        page.keyboard.press("PageUp")
    expect(slider).to_have_attribute("aria-valuenow", str(level_db))
    expect(page.locator("#waveform .gtitle")).to_contain_text(f"stimulus level (dB) {level_db},")


def wave_5_ms(page: Page) -> float:
    """Of the current waveform, in the table of peaks."""
    return float(page.locator(f"{ROWS} td:nth-child(6)").first.inner_text())


def trace(page: Page, name: str) -> dict[str, list[float]]:
    """Samples of a waveform in the figure of the page."""
    return next(found for found in page.evaluate(TRACES) if found["name"] == name)


def test_a_higher_level_moves_wave_5_earlier(opened, good_bundle):
    page, requests = opened
    for _ in range(3):  # the number of the level's slider is the first stop, then comes the slider
        if page.evaluate("document.activeElement.getAttribute('role')") != "slider":
            page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "stimulus level (dB)"
    for level in (20, 80):
        set_level(page, level)
        norm = norm_of_wave_5_ms(good_bundle, level)
        assert norm == pytest.approx({20: 7.6, 80: 5.9}[level], abs=0.3)
        assert wave_5_ms(page) == pytest.approx(norm, abs=0.5)
        waveform = trace(page, "current")  # wave V is its largest peak
        assert waveform["x"][int(np.argmax(waveform["y"]))] == pytest.approx(norm, abs=0.5)
    assert len(requests) > 10
    origin = page.url
    assert [url for url in requests if not url.startswith((origin, "data:", "blob:"))] == []


def norm_of_wave_5_ms(folder: Path, level_db: float) -> float:
    """Wave V of the norms that the simulator is made of, at the typical condition of the page but for the level."""
    typical = load(folder).preprocessing.typical[""]
    condition = Condition(
        level_db=np.array([level_db]),
        rate_hz=np.array([typical["stimulus_rate_hz"]]),
        age_years=np.array([typical["age_years"]]),
        hearing_loss_db=np.array([typical["hearing_loss_db"]]),
        female=np.array([typical["sex"] == "F"]),
    )
    return float(wave_latency_ms(condition)[0, 4])


def test_what_is_saved_is_what_is_shown(opened, recordings_table):
    page, _ = opened
    page.get_by_role("button", name="Freeze current").click()
    page.get_by_label("Row of the table").fill("7")
    page.get_by_role("button", name="Add recording").click()
    expect(page.locator(ROWS)).to_have_count(3)
    before = trace(page, "current")["y"]
    page.get_by_role("listbox", name="Global of A").get_by_role("option", name="row 7").click()
    set_level(page, 40)
    shown = {found["name"]: found["y"] for found in page.evaluate(TRACES)}
    assert shown["frozen 1"] == pytest.approx(before, abs=1e-6)
    assert shown["current"] != pytest.approx(before, abs=1e-3)
    assert shown["row 7"] == pq.read_table(recordings_table)["signal"][7].as_py()
    saved = {kind: save(page, kind) for kind in ("Parquet", "CSV", "PNG", "SVG")}

    table = pq.read_table(saved["Parquet"])
    assert {row["name"]: row["signal"] for row in table.to_pylist()} == shown
    assert table["stimulus_level_db"][0].as_py() == 40.0
    lines = pyarrow.csv.read_csv(saved["CSV"])
    samples = np.stack([lines[name].to_numpy() for name in lines.column_names if name.startswith("t_ms=")], axis=1)
    assert np.array_equal(samples.astype(np.float32), signals_of(table))
    assert table["peak_latency_ms"][0].as_py()[4] == pytest.approx(wave_5_ms(page), abs=0.006)
    assert saved["PNG"].read_bytes().startswith(b"\x89PNG")
    drawing = saved["SVG"].read_text()
    for text in ("stimulus level (dB) 40", ">current<", ">frozen 1<", ">row 7<"):
        assert text in drawing


def save(page: Page, kind: str) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name=kind, exact=True).click()
    assert download.value.suggested_filename == f"explored.{kind.lower()}"
    return Path(download.value.path())


def test_a_group_has_conditions_and_amplitudes_of_its_own(served_groups, browser: Browser):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(served_groups)
    heights, limits = {}, {}
    for species, (low, high) in {"human": (10, 90), "mouse": (30, 50)}.items():
        page.get_by_role("radio", name=species).check()
        slider = page.get_by_role("slider", name="stimulus level (dB)")
        expect(page.locator("#waveform .gtitle")).to_contain_text(f"species {species}")
        limits[species] = [int(slider.get_attribute(f"aria-value{end}")) for end in ("min", "max")]
        assert low <= limits[species][0] < limits[species][1] <= high
        heights[species] = np.ptp(trace(page, "current")["y"])
    assert limits["mouse"][0] > limits["human"][0]
    assert limits["mouse"][1] < limits["human"][1]
    assert 3 < heights["human"] / heights["mouse"] < 30  # the waveforms' own ratio is 10


def test_mistakes_are_told_and_the_figure_stays(opened):
    page, _ = opened
    page.get_by_label("Row of the table").fill("60")
    page.get_by_role("button", name="Add recording").click()
    expect(page.get_by_role("status")).to_contain_text("row must be 0 to 59, but got 60")
    expect(page.locator(ROWS)).to_have_count(1)


def test_only_this_machine_is_served_until_ctrl_c(served):
    process, address = served
    port = int(address.rstrip("/").rpartition(":")[2])
    with pytest.raises(OSError, match="refused"):  # a server of all addresses would answer here, too
        socket.create_connection(("127.0.0.2", port), timeout=5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    assert "Traceback" not in process.stderr.read()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)
