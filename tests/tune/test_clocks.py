"""A search on a machine whose clock is set, forward and back, while it runs; see `shifted_clock.c`."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

import hcvae
from tests.fixtures.studies import SmallSearch
from tune.report.results import SearchResult
from tune.study.folder import StudyFolder
from tune.study.leases import lease_of
from tune.study.trial_attributes import attributes_of

pytestmark = pytest.mark.services
ROOT = Path(__file__).resolve().parents[2]
# Only this process has a clock that is set: Ray's own take it from the machine, as they would after a jump.
SHIFTED = """
import os, sys
del os.environ["LD_PRELOAD"]
from jobs import search
sys.exit(search.run(sys.argv[1:]))
"""


def test_a_search_keeps_its_trials_whatever_the_clock_does(small_search: SmallSearch, tmp_path: Path) -> None:
    training = {"epochs": 80, "early_stopping_patience": None}
    # One trial where two would fit: the search keeps looking for one to adopt.
    config = small_search(study="shifted", trials=1, max_concurrent=2, training=training)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    clock, library = tmp_path / "clock", tmp_path / "shifted_clock.so"
    source = Path(__file__).with_name("shifted_clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    variables = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(clock)}
    command = [sys.executable, "-c", SHIFTED, "--config", str(tmp_path / "config.json"), "--log-json"]
    search = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    times, shifts = [], {5: "7200", 30: "-7200", 55: "0"}
    assert search.stdout is not None
    for line in search.stdout:
        event = json.loads(line)
        times.append(event["time"])
        if event["event"] == "epoch" and (shift := shifts.pop(event["metrics"]["epoch"], None)):
            clock.write_text(shift)
    assert search.wait() == 0, search.stderr and search.stderr.read()
    steps = [after - before for before, after in itertools.pairwise(times)]
    assert max(steps) > 3600  # the clock was set, in both directions
    assert min(steps) < -3600
    trials = StudyFolder(tmp_path / "shifted").load().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE]
    assert lease_of(trials[0]).attempt == 1
    assert len(attributes_of(trials[0])["epochs_reported"]) == 80
    result = SearchResult.open(tmp_path / "shifted")
    assert result.pareto
    for member in result.pareto:
        hcvae.load(result.bundle(member.number))
