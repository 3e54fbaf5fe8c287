"""The benchmark of the science: its runs are valid configurations, and its tables hold the means of their results."""

from pathlib import Path
from statistics import mean, stdev

import pytest

from benchmarks import records
from benchmarks.pages import spread
from benchmarks.science_report import write_report
from benchmarks.science_runs import runs
from hcvae.config import Config

RECORDINGS = Path("recordings")


@pytest.mark.parametrize("tier", ["quick", "full"])
def test_every_run_is_a_valid_training_with_a_name_of_its_own(tier):
    chosen = list(runs(tier, RECORDINGS))
    assert len({run.key for run in chosen}) == len(chosen)
    for run in chosen:
        assert Config.model_validate(run.config).training.seed == run.seed


def test_plain_and_standard_have_the_specifications_weights():
    by_name = {run.name: Config.model_validate(run.config) for run in runs("quick", RECORDINGS)}
    weights = by_name["plain"].training.loss_weights
    assert (weights.global_kl, weights.local_kl, weights.swap) == (0.01, 0.01, 0)
    assert by_name["standard"].model.model_type == "standard"
    assert by_name["recommended"].training.loss_weights == Config().training.loss_weights


def test_a_table_holds_means_spreads_and_baselines(tmp_path):
    results, page = tmp_path / "results.jsonl", tmp_path / "page.md"
    common = {"group": "g", "name": "model", "parameters": 10, "epochs": 2, "machine": "m", "threads": 1}
    for seed, r2 in enumerate((0.5, 0.7)):
        record = common | {"key": f"model--{seed}", "seed": seed, "measures": {"r2": r2}, "train_seconds": 4.0}
        if seed == 0:
            record["baselines"] = {"PCA": {"measures": {"r2": 0.9}}}
        records.write(results, record)
    page.write_text("before\n<!-- table: g -->\nold\n<!-- end -->\nafter\n")
    write_report(results, page)
    text = page.read_text()
    assert "| model (2) | 0.6 ± 0.14 |" in text
    assert "| PCA | 0.9 |" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_a_spread_is_mean_and_standard_deviation():
    values = [0.123, 0.456, 0.789]
    assert spread(values) == f"{mean(values):.3g} ± {stdev(values):.2g}"
    assert spread([]) == "-"
