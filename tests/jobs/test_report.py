import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator

from hcvae.errors import UserError
from jobs import report
from tests.fixtures.accessibility import serious
from tune.report.results import SearchResult

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_report_is_one_file(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.html"
    out.write_text("an older one")
    assert report.run([str(study), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: open it in a browser\n"
    text = out.read_text()
    assert text.startswith("<!doctype html>")
    assert text.endswith("</html>")
    # The figures of the front's models are in it.
    assert text.count('png" src="data:image/png;base64,iVBOR') == 3 * len(SearchResult.open(study).pareto)
    assert list(tmp_path.iterdir()) == [out]


def test_a_report_that_cannot_be_made_leaves_the_older_one(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report.html"
    out.write_text("an older one")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match=r"--out: cannot write to .*report\.html: No space left on device; name a"):
        report.run([str(study), "--out", str(out)])
    assert out.read_text() == "an older one"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (".", "--out .*: is a folder; name a file"),
        ("nowhere/report.html", "--out: the folder .*nowhere does not exist; make it first"),
        ("file/report.html", "--out .*html: cannot be written, as .*file is not a folder"),
    ],
)
def test_out_must_be_a_file_that_can_be_written(study: Path, tmp_path: Path, out: str, message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=message):
        report.run([str(study), "--out", str(tmp_path / out)])


def test_a_report_does_not_replace_a_file_of_the_study(study: Path) -> None:
    before = (study / "pareto.json").read_bytes()
    with pytest.raises(UserError, match=r"--out .*pareto\.json: is inside .*, which the command reads"):
        report.run([str(study), "--out", str(study / "pareto.json")])
    assert (study / "pareto.json").read_bytes() == before


def test_where_no_study_is_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no study here; name a folder that holds a study\.json"):
        report.run([str(tmp_path), "--out", str(tmp_path / "report.html")])
    assert list(tmp_path.iterdir()) == []


def test_help_has_examples(run_job: Run) -> None:
    ended = run_job("report", "--help")
    assert ended.returncode == 0
    assert ended.stdout.split("examples:")[1].count("python -m jobs.report ") >= 2


@pytest.mark.parametrize(
    ("job", "missing"), [("report", "optuna"), ("dashboard", "optuna_dashboard"), ("search", "ray"), ("pull", "optuna")]
)
def test_a_missing_extra_is_named_with_its_remedy(study: Path, tmp_path: Path, job: str, missing: str) -> None:
    """None in sys.modules: importing it raises, as where it is not installed."""
    program = f"import runpy, sys; sys.modules[{missing!r}] = None\nrunpy.run_module('jobs.{job}', run_name='__main__')"
    where = {"search": [f"--search.storage={tmp_path}"], "pull": [str(study), f"--out={tmp_path}/model"]}
    command = [sys.executable, "-c", program, *where.get(job, [str(study)])]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith(f"error: {missing}")
    assert "`pip install --constraint constraints.txt --editable '.[search]'`" in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def written(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the study."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    report.run([str(study), "--out", str(out)])
    return out


@pytest.mark.services
def test_a_report_needs_no_network_and_its_front_answers_the_pointer(
    study: Path, written: Path, browser: Browser
) -> None:
    page = browser.new_page()
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(f"file://{written}")
    points = page.locator("#pareto .scatterlayer .points path.point")
    points.first.wait_for()
    page.locator("#parallel .parcoords").first.wait_for()  # compiled: the page's policy lets it
    assert [url for url in requests if url != f"file://{written}" and not url.startswith(("data:", "blob:"))] == []
    assert errors == []
    images = page.locator(".figures img")
    assert images.count() == 3 * len(SearchResult.open(study).pareto)
    assert all(image.evaluate("image => image.naturalWidth") > 0 for image in images.all())

    first = SearchResult.open(study).trials[0]  # one after the other: the first to end
    place = points.first.bounding_box()
    assert place is not None
    page.mouse.move(place["x"] - 30, place["y"])
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2, steps=5)
    tooltip = page.locator("#pareto .hoverlayer .hovertext")
    tooltip.wait_for()
    assert f"trial {first.number}" in str(tooltip.text_content())
    assert f"reconstruction_nmse {first.reconstruction_nmse:.4f}" in str(tooltip.text_content())


@pytest.mark.services
@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
def test_a_report_is_accessible_and_fits_its_window(
    written: Path, browser: Browser, width: int, scheme: Literal["light", "dark"]
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(f"file://{written}")
    page.locator("#parallel .parcoords").first.wait_for()
    page.get_by_text("Configuration").click()
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert page.locator("#pareto .xtick text").first.evaluate("text => getComputedStyle(text).fill") == ink
    page.close()


@pytest.mark.services
def test_trials_are_sorted_by_a_click_and_commands_are_copied(study: Path, written: Path, browser: Browser) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"file://{written}")
    result = SearchResult.open(study)
    table = page.get_by_role("table").last
    assert column(table, 1)[: len(result.pareto)] == [str(trial.number) for trial in result.pareto]
    scores = sorted(f"{trial.disentanglement:.4f}" for trial in result.trials)
    for expected in (scores, scores[::-1]):
        table.get_by_role("button", name="disentanglement").click()
        assert column(table, 4) == expected
    page.get_by_role("button", name="Copy the command").first.click()
    page.get_by_text("Copied").wait_for()
    copied = str(page.evaluate("navigator.clipboard.readText()"))
    best = result.pareto[0]
    assert copied == f"python -m jobs.pull {study} --trial {best.number} --out model-{best.number}"
    test_nmse = result.load(best).metrics["test"]["reconstruction_nmse"]
    assert f"{test_nmse:.4g}" in page.locator(".metrics").first.inner_text()
    context.close()


def column(table: Locator, number: int) -> list[str]:
    """The texts of a column, from the top."""
    return table.locator(f"tbody tr > :nth-child({number})").all_inner_texts()
