"""The replay of searches on recorded curves: its clock, its pool and its books, by hand."""

import math
from pathlib import Path

import pytest

from benchmarks.early_stopping import BASE, draws
from benchmarks.early_stopping_replay import Arm, Curve, Pool, Replay, replay, replays
from benchmarks.early_stopping_report import ranks, verdict, write_report
from hcvae.config import TrainingConfig
from tune.config import EarlyStopping, SearchConfig
from tune.early_stopping.moasha import MOASHA
from tune.objectives import SPECIFIED
from tune.space.latents import GLOBAL, LOCAL
from tune.study.pareto import hypervolume

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 4


def curve(index: int, nmse: float, seconds: float = 1.0) -> Curve:
    """A configuration whose NMSE falls to `nmse`; z_local has 60 + index dimensions."""
    [params] = draws(1)
    points = tuple((nmse + 0.1 * (EPOCHS - epoch), 0.5) for epoch in range(1, EPOCHS + 1))
    place = params | {GLOBAL: 20, LOCAL: 60 + index}
    return Curve(index=index, params=place, points=points, seconds=(seconds,) * EPOCHS, best_epoch=EPOCHS, base="")


@pytest.fixture
def config() -> SearchConfig:
    training = BASE.training.model_copy(update={"epochs": EPOCHS})
    return BASE.model_copy(update={"training": training})


def test_two_workers_share_the_time(config: SearchConfig) -> None:
    curves = [curve(index, 0.4) for index in range(5)]
    found = replay(curves, config, None, 100, 0)
    assert found.times == [4, 4, 8, 8, 12]
    assert (found.complete, found.pruned) == (5, 0)
    assert replay(curves, config, None, 8, 0).complete == 4


def test_the_hypervolume_is_that_of_the_complete_trials(config: SearchConfig) -> None:
    curves = [curve(index, 0.2 + 0.1 * index) for index in range(4)]
    found = replay(curves, config, None, 100, 0)
    assert found.hypervolumes[-1] == pytest.approx(hypervolume({c.index: c.value for c in curves}, SPECIFIED))
    assert found.hypervolumes == sorted(found.hypervolumes)
    assert found.at(3.9) == 0
    assert found.at(4) in (found.hypervolumes[0], found.hypervolumes[1])
    assert found.reaches(found.hypervolumes[-1]) <= 8
    assert found.reaches(1) == math.inf


def test_the_nearest_free_configuration_is_taken(config: SearchConfig) -> None:
    curves = [curve(index, 0.4) for index in range(3)]
    pool = Pool(curves, config.search.space)
    wanted = curves[1].params
    assert [pool.take_nearest(wanted | {LOCAL: 70}).index for _ in range(3)] == [2, 1, 0]
    assert not pool
    # A factor of ten on a log scale is farther than a third of a narrow range.
    other = curve(9, 0.4).model_copy(update={"params": wanted | {"training.loss_weights.swap": 10.0}})
    pool = Pool([curves[1], other], config.search.space)
    far = wanted | {"training.loss_weights.swap": 9.0, LOCAL: 90}
    assert pool.take_nearest(far).index == 9


def test_stopped_trials_cost_their_epochs_only(config: SearchConfig) -> None:
    """From the third trial at the rung on, those that are not the best of a third are stopped."""
    curves = [curve(index, 0.4) for index in range(6)]
    early = EarlyStopping(eta=2, min_epochs=2)
    found = replay(curves, config, early, 100, 0)
    # Equal trials: the first passes alone, the second is second of two; then 1 of 3, and the earlier ones stand first.
    assert found.pruned == 5
    assert found.complete == 1
    assert found.times == [4]


def test_every_arm_is_replayed_with_every_seed(config: SearchConfig) -> None:
    curves = [curve(index, 0.2 + 0.05 * index, 1 + index % 2) for index in range(8)]
    found = dict(replays(curves, config, EarlyStopping(eta=2, min_epochs=1), 60, range(2)))
    assert [(arm.sampler, arm.stops) for arm in found] == [
        ("random", False),
        ("tpe", False),
        ("random", True),
        ("tpe", True),
    ]
    assert all(run.complete + run.pruned == 8 for runs in found.values() for run in runs)
    assert all((run.pruned > 0) == arm.stops for arm, runs in found.items() for run in runs)


def test_the_verdict_compares_seed_by_seed() -> None:
    plain, stopping = Arm("random", "random", False), Arm("random + MO-ASHA", "random", True)
    found = {
        plain: [Replay([4], [0.2]), Replay([6], [0.4])],
        stopping: [Replay([3], [0.35]), Replay([1], [0.35])],
    }
    lines = verdict(8, found)
    assert "at 8 s: hypervolume +0.0500 ± 0.1414, larger with 1 of 2 seeds" in lines
    assert "had at 8 s, and had found after 5 ± 1.4 s, random + MO-ASHA found after 3 s with 1 of 2 seeds" in lines


def test_ranks_compare_each_epoch_with_the_end() -> None:
    early = EarlyStopping(eta=2, min_epochs=1)
    crossing = [
        curve(0, 0.2).model_copy(update={"points": ((0.9, 0.1), (0.8, 0.2), (0.3, 0.3), (0.2, 0.4))}),
        curve(1, 0.3).model_copy(update={"points": ((0.8, 0.2), (0.7, 0.3), (0.4, 0.4), (0.3, 0.5))}),
        curve(2, 0.4).model_copy(update={"points": ((0.7, 0.3), (0.6, 0.4), (0.5, 0.5), (0.4, 0.6))}),
    ]
    lines = ranks(crossing, MOASHA(early, TrainingConfig(epochs=4), SPECIFIED)).splitlines()
    assert "| 1 | -1.00 | 1.00 |" in lines
    assert "| 3 | 1.00 | 1.00 |" in lines


@pytest.mark.filterwarnings("ignore:An input array is constant")  # the curves' disentanglement
def test_the_report_fills_every_marker_of_the_page(config: SearchConfig, tmp_path: Path) -> None:
    page = tmp_path / "early-stopping.md"
    page.write_text((ROOT / "docs" / "early-stopping.md").read_text())
    curves = [curve(index, 0.2 + 0.05 * index) for index in range(6)]
    early = EarlyStopping(eta=2, min_epochs=1)
    found = dict(replays(curves, config, early, 60, range(2)))
    stopping = {arm: runs for arm, runs in found.items() if arm.stops}
    write_report(tmp_path, curves, MOASHA(early, config.training, SPECIFIED), 60, found, {1: stopping}, [])
    text = page.read_text()
    assert "-->\n<!-- end -->" not in text
    assert "6 configurations of 4 epochs" in text
    assert (tmp_path / "figures" / "early-stopping.svg").read_text().startswith("<?xml")


def test_recorded_configurations_are_always_the_same_and_valid() -> None:
    assert draws(5) == draws(7)[:5]
    assert len({str(params) for params in draws(7)}) == 7
    assert all(int(params[LOCAL]) >= int(params[GLOBAL]) for params in draws(7))
