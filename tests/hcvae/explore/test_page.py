"""The page in a process of its own, as a user starts it, in a browser, by keyboard."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from hcvae.bundle import load
from hcvae.data.normative import RecordingConditions, wave_latency_ms
from hcvae.data.table import signals_of
from tests.fixtures.accessibility import serious

pytestmark = pytest.mark.services

ROWS = "#peaks tbody tr"
TRACES = """() => document.querySelector("#waveform .js-plotly-plot").data
    .filter(trace => trace.mode === "lines").map(trace => ({name: trace.name, x: trace.x, y: trace.y}))"""


SAVES = ("Parquet", "CSV", "PNG", "SVG")
LEVEL = "stimulus level (dB)"


@pytest.fixture
def opened(served, browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """The page at its start, and the addresses that it asked for."""
    requests: list[str] = []
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.goto(served[1])
    wait_until_drawn(page)
    yield page, requests
    page.close()


def wait_until_drawn(page: Page) -> None:
    expect(page.get_by_role("button", name="PNG")).to_be_enabled()
    page.locator("#waveform .scatterlayer .lines path").first.wait_for()


def set_level(page: Page, level_db: int) -> None:
    """Move the slider by its keys, to its start, which is 10 dB, and on by steps of 10 dB; wait for the page."""
    slider = page.get_by_role("slider", name=LEVEL)
    slider.focus()
    page.keyboard.press("Home")
    for _ in range(level_db // 10 - 1):
        page.keyboard.press("PageUp")
    assert state(page)[:2] == (str(level_db), str(level_db))
    expect(page.locator("#condition")).to_contain_text(f"{LEVEL} {level_db},")
    wait_until_drawn(page)


def state(page: Page) -> tuple[str, str, str]:
    """The level in the field, on the slider, and in the condition of what is drawn."""
    condition = page.locator("#condition").inner_text()
    return (
        page.get_by_role("textbox", name=LEVEL).input_value(),
        page.get_by_role("slider", name=LEVEL).input_value(),
        condition.partition(f"{LEVEL} ")[2].partition(",")[0],
    )


def wave_5_ms(page: Page) -> float:
    """Of the current waveform, in the table of peaks."""
    return float(page.locator(f"{ROWS} td:nth-child(6)").first.inner_text())


def trace(page: Page, name: str) -> dict[str, list[float]]:
    """Samples of a waveform in the figure of the page."""
    return next(found for found in page.evaluate(TRACES) if found["name"] == name)


def test_a_higher_level_moves_wave_5_earlier(opened, good_bundle):
    page, requests = opened
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == LEVEL
    for level in (30, 80):  # at 20 dB the largest peak need not be wave V
        set_level(page, level)
        norm = norm_of_wave_5_ms(good_bundle, level)
        assert norm == pytest.approx({30: 7.2, 80: 5.9}[level], abs=0.3)
        assert wave_5_ms(page) == pytest.approx(norm, abs=0.5)
        waveform = trace(page, "current")  # wave V is its largest peak
        assert waveform["x"][int(np.argmax(waveform["y"]))] == pytest.approx(norm, abs=0.5)
    assert len(requests) > 5
    origin = page.url
    assert [url for url in requests if not url.startswith((origin, "data:", "blob:"))] == []


def norm_of_wave_5_ms(folder: Path, level_db: float) -> float:
    """Wave V of the norms that the simulator is made of, at the typical condition of the page but for the level."""
    typical = load(folder).preprocessing.typical[""]
    condition = RecordingConditions(
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
    page.get_by_label("Global of A").select_option("row 7")
    set_level(page, 40)
    shown = {found["name"]: found["y"] for found in page.evaluate(TRACES)}
    assert shown["frozen 1"] == pytest.approx(before, abs=1e-6)
    assert shown["current"] != pytest.approx(before, abs=1e-3)
    assert shown["row 7"] == pq.read_table(recordings_table)["signal"][7].as_py()
    saved = {kind: save(page, kind) for kind in SAVES}

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


@pytest.mark.parametrize("text", ["200", "", "1,5"])
def test_nothing_is_saved_while_a_number_is_not_permitted(opened, text):
    page, _ = opened
    field, status = page.get_by_role("textbox", name=LEVEL), page.get_by_role("status")
    start = state(page)
    field.fill(text)
    assert page.locator(".valid-only:enabled").count() == 0  # at once, before the field is judged
    for kind in (*SAVES, "Freeze current"):
        expect(page.get_by_role("button", name=kind)).to_be_disabled()
    expect(status).to_contain_text(f"nothing can be saved: {LEVEL}: must be a number from 10 to 90, but got")
    expect(field).to_have_attribute("aria-invalid", "true")
    assert state(page) == (text, *start[1:])
    set_rate(page)  # another control does not hide the mistake
    expect(status).to_contain_text("from 10 to 90")
    expect(page.get_by_role("button", name="CSV")).to_be_disabled()
    field.fill("62.5")
    wait_until_drawn(page)
    assert state(page) == ("62.5", "62.5", "62.5")
    expect(status).to_be_empty()
    expect(field).to_have_attribute("aria-invalid", "false")
    assert pq.read_table(save(page, "Parquet"))["stimulus_level_db"].to_pylist() == [62.5]


def set_rate(page: Page) -> None:
    page.get_by_role("slider", name="stimulus rate (Hz)").press("PageUp")


def answer_slowly(route: Route) -> None:
    time.sleep(0.1)
    route.continue_()


def test_the_last_of_many_quick_changes_is_what_is_drawn_and_saved(opened):
    page, _ = opened
    page.route("**/draw", answer_slowly)
    field = page.get_by_role("textbox", name=LEVEL)
    for level in ("7", "75", "7", "73", "33"):
        field.fill(level)
        page.get_by_role("slider", name="global 1").press("ArrowRight")
    wait_until_drawn(page)
    assert state(page) == ("33", "33", "33")
    shift = page.get_by_role("textbox", name="global 1")
    expect(shift).to_have_value("0.5")
    drawn = trace(page, "current")["y"]
    table = pq.read_table(save(page, "Parquet"))
    assert table["signal"][0].as_py() == drawn
    assert table["stimulus_level_db"].to_pylist() == [33.0]


def test_two_pages_and_a_reload_have_states_of_their_own(opened, served, browser: Browser):
    page, _ = opened
    other = browser.new_page()
    other.goto(served[1])
    wait_until_drawn(other)
    start = state(page)
    set_level(page, 30)
    page.get_by_role("button", name="Freeze current").click()
    expect(page.locator(ROWS)).to_have_count(2)
    assert state(other) == start
    other.close()
    page.goto("about:blank")
    page.go_back()  # where it was, or anew: never the fields of one and the references of the other
    wait_until_drawn(page)
    assert (state(page)[0], page.locator(ROWS).count()) in (("30", 2), (start[0], 1))
    page.reload()
    wait_until_drawn(page)
    expect(page.locator(ROWS)).to_have_count(1)
    assert state(page) == start


def test_everything_typical_is_the_start(opened):
    page, _ = opened
    start, drawn = state(page), trace(page, "current")["y"]
    page.get_by_label("sex").select_option(
        index=1 - page.get_by_label("sex").evaluate("select => select.selectedIndex")
    )
    page.get_by_role("textbox", name="local 2").fill("9")
    set_rate(page)
    expect(page.get_by_role("status")).to_contain_text("local 2: must be a number from -3 to 3, but got '9'")
    page.get_by_role("button", name="Everything typical").click()
    wait_until_drawn(page)
    assert state(page) == start
    assert trace(page, "current")["y"] == drawn


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
def test_the_page_is_accessible_and_fits_its_window(served, browser: Browser, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.goto(served[1])
    wait_until_drawn(page)
    page.get_by_role("button", name="Freeze current").click()
    page.get_by_role("button", name="Add recording").click()
    expect(page.locator(ROWS)).to_have_count(3)
    assert serious(page) == []
    page.get_by_role("textbox", name=LEVEL).fill("")
    expect(page.get_by_role("status")).to_contain_text("empty field")
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.querySelector('main')).backgroundColor")
    assert page.locator("#waveform .main-svg").first.evaluate("svg => svg.style.background") == paper
    page.close()


def test_a_group_has_conditions_amplitudes_and_figures_of_its_own(served_groups, browser: Browser):
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(served_groups)
    heights, limits, changes = {}, {}, {}
    for species, (low, high) in {"human": (10, 90), "mouse": (30, 50)}.items():
        page.get_by_label("species").select_option(species)
        expect(page.locator("#condition")).to_contain_text(f"species {species}")
        wait_until_drawn(page)
        slider = page.get_by_role("slider", name=LEVEL)
        limits[species] = [float(str(slider.get_attribute(end))) for end in ("min", "max")]
        assert low <= limits[species][0] < limits[species][1] <= high
        heights[species] = np.ptp(trace(page, "current")["y"])
        changes[species] = float(page.locator("#global-1-change").inner_text().split()[0])
        expect(page.get_by_text("This model predicts no peaks.")).to_be_visible()
    assert limits["mouse"][0] > limits["human"][0]
    assert limits["mouse"][1] < limits["human"][1]
    assert 3 < heights["human"] / heights["mouse"] < 30  # the waveforms' own ratio is 10
    assert 3 < changes["human"] / changes["mouse"] < 30
    page.close()


def test_a_number_may_be_unknown_where_it_was_in_training(served_groups, browser: Browser):
    page = browser.new_page()
    page.goto(served_groups)
    wait_until_drawn(page)
    age, unknown = (
        page.get_by_role("textbox", name="age (years)"),
        page.get_by_role("checkbox", name="age (years) unknown"),
    )
    unknown.uncheck()
    age.fill("-1")
    expect(page.get_by_role("status")).to_contain_text("age (years): must be a number from")
    unknown.check()
    expect(page.locator("#condition")).to_contain_text("age (years) unknown,")
    wait_until_drawn(page)
    expect(age).to_be_disabled()
    expect(page.get_by_role("slider", name="age (years)")).to_be_disabled()
    assert pq.read_table(save(page, "Parquet"))["age_years"].to_pylist() == [None]
    page.close()


def test_rows_that_are_not_there_cannot_be_added(opened):
    page, _ = opened
    row, add = page.get_by_label("Row of the table"), page.get_by_role("button", name="Add recording")
    row.fill("60")
    expect(page.locator("#row-problem")).to_contain_text("must be a whole number from 0 to 59, but got '60'")
    expect(add).to_be_disabled()
    row.fill("59")
    expect(add).to_be_enabled()
    expect(page.locator("#row-problem")).to_be_hidden()


def test_a_page_whose_server_has_ended_saves_nothing(opened):
    page, _ = opened
    page.route("**/draw", lambda route: route.abort())
    page.get_by_role("slider", name=LEVEL).press("ArrowRight")
    expect(page.get_by_role("status")).to_contain_text("hcvae explore does not answer; start it again")
    expect(page.get_by_role("button", name="CSV")).to_be_disabled()


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
