"""Recorded results: each file loads, belongs to the present configuration, and is what the page quotes.

A number that is in no file, as it was measured and written at once, cannot be compared here.
"""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import early_stopping, kills, many_trials, new_subjects, records, science
from benchmarks.early_stopping import BASE, EarlyStopping, draws, recorded
from benchmarks.early_stopping_report import Live, live_table, ranks, setting
from benchmarks.many_trials_report import Run
from benchmarks.many_trials_report import write_report as write_many_trials
from benchmarks.science_report import write_report as write_science
from benchmarks.science_runs import runs
from tune.early_stopping.moasha import MOASHA
from tune.objectives import SPECIFIED

DOCS = Path(__file__).resolve().parents[2] / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text()


def copy(name: str, folder: Path) -> Path:
    return Path(shutil.copy(DOCS / name, folder / name))


def test_the_recorded_curves_are_those_of_the_base_configuration():
    curves = recorded()
    assert [curve.index for curve in curves] == list(range(200))
    assert [curve.params for curve in curves[:20]] == draws(20)


def test_later_options_change_no_fingerprint_and_other_values_do(monkeypatch):
    recorded_as = early_stopping.fingerprint()
    for changes in ({"batch_size": 129}, {"precision": "bf16"}, {"learning_rate": 2e-3}):
        changed = BASE.model_copy(update={"training": BASE.training.model_copy(update=changes)})
        monkeypatch.setattr(early_stopping, "BASE", changed)
        assert early_stopping.fingerprint() != recorded_as
    [file] = early_stopping.EARLY_STOPPING.glob("base-*.json")
    assert "compile" not in json.loads(file.read_text())["training"], "an option that came after the recording"


def test_a_new_base_configuration_is_recorded_beside_its_results(tmp_path, monkeypatch):
    monkeypatch.setattr(early_stopping, "EARLY_STOPPING", tmp_path)
    early_stopping.keep_base()
    [file] = tmp_path.iterdir()
    assert file.name == f"base-{early_stopping.fingerprint()}.json"


def test_docs_early_stopping_quotes_the_recorded_curves():
    curves, rule = recorded(), MOASHA(EarlyStopping(), BASE.training, SPECIFIED)
    horizon = sum(sum(curve.seconds) for curve in curves) / 2 / 4
    lives = [Live.model_validate_json(line) for line in early_stopping.LIVE.read_text().splitlines()]
    assert {live.base for live in lives} == {early_stopping.fingerprint()}
    text = page("early-stopping.md")
    for quoted in (setting(curves, rule, horizon), ranks(curves, rule), live_table(lives)):
        assert quoted in text


@pytest.mark.services
def test_docs_early_stopping_is_what_the_replays_write(tmp_path, monkeypatch):
    """Half a minute of replays."""
    (tmp_path / "docs").mkdir()
    copied = copy("early-stopping.md", tmp_path / "docs")
    monkeypatch.setattr(early_stopping, "ROOT", tmp_path)
    assert early_stopping.run([]) == 0
    assert copied.read_text() == page("early-stopping.md")


@pytest.mark.parametrize("tier", ["quick", "full"])
def test_every_run_of_the_science_is_recorded_with_its_configuration(tier):
    done = records.read(science.SCIENCE)
    assert [run.key for run in runs(tier, Path("recordings")) if not science.is_done(run, done)] == []


def test_docs_science_is_what_its_results_write(tmp_path):
    copied = copy("science.md", tmp_path)
    write_science(science.SCIENCE, copied)
    assert copied.read_text() == page("science.md")


def test_docs_science_quotes_the_new_subjects():
    rows = new_subjects.trained_rows([*records.read(new_subjects.NEW_SUBJECTS).values()])
    assert len(rows) == len(new_subjects.WAYS)
    for row in rows:
        assert f"{row}\n" in page("science.md")


def test_docs_benchmarks_has_the_recorded_searches(tmp_path):
    copied = copy("benchmarks.md", tmp_path)
    write_many_trials(copied, many_trials.MANY_TRIALS)
    assert copied.read_text() == page("benchmarks.md")
    searches = [Run.model_validate_json(line) for line in many_trials.MANY_TRIALS.read_text().splitlines()]
    assert searches
    for run in searches:
        assert f"<!-- table: {run.name} -->" in copied.read_text()


def test_docs_resume_has_the_recorded_kills():
    assert kills.make_table(kills.recorded()) in page("resume.md")
