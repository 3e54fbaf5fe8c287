from typing import Any

import pytest

from tune.config import SearchConfig
from tune.space.combinations import MAX_COMBINATIONS, closest, combination, combinations
from tune.space.latents import GLOBAL, LOCAL

BATCH, RATE, PRECISION = "training.batch_size", "training.learning_rate", "training.precision"


def config_of(space: dict[str, Any], **model: Any) -> SearchConfig:
    return SearchConfig.model_validate({"model": model, "search": {"space": space}})


def choice(*choices: Any) -> dict[str, Any]:
    return {"type": "choice", "choices": choices}


def whole(low: int, high: int, **settings: Any) -> dict[str, Any]:
    return {"type": "int", "low": low, "high": high, **settings}


@pytest.mark.parametrize(
    ("space", "n"),
    [
        ({RATE: choice(1e-3, 1e-2, 1e-1), PRECISION: choice("fp32", "bf16")}, 6),
        ({BATCH: whole(16, 64, log=True)}, 49),
        ({RATE: {"type": "float", "low": 1e-3, "high": 1e-3}, BATCH: whole(32, 33)}, 2),
        ({RATE: {"type": "float", "low": 1e-3, "high": 2e-3}, BATCH: whole(32, 33)}, 0),
        ({BATCH: whole(1, MAX_COMBINATIONS)}, MAX_COMBINATIONS),
        ({BATCH: whole(1, MAX_COMBINATIONS + 1)}, 0),
        ({"training.seed": whole(0, 10**400), RATE: {"type": "float", "low": 1e-3, "high": 2e-3}}, 0),
        # The local dimension must be at least the global one.
        ({GLOBAL: whole(3, 5), LOCAL: whole(2, 6)}, 4 + 3 + 2),
        ({LOCAL: whole(2, 6), GLOBAL: choice(3, 5)}, 4 + 2),
        ({GLOBAL: whole(3, 5), LOCAL: choice(5, 9)}, 6),
        ({LOCAL: whole(2, 40)}, 9),  # the global one is 32
        ({}, 1),
    ],
)
def test_a_finite_space_is_counted(space: dict[str, Any], n: int) -> None:
    found = combinations(config_of(space, global_latent_dim=32, local_latent_dim=64))
    assert len(found) == len(set(found)) == n


def test_a_combination_has_the_order_of_the_space() -> None:
    config = config_of({RATE: choice(1e-3, 1e-2), BATCH: whole(32, 33)})
    assert combination(config, {BATCH: 33, RATE: 1e-2}) == (1e-2, 33)
    assert combination(config, {BATCH: 33}) == (None, 33)
    assert (1e-2, 33) in combinations(config)


def test_the_closest_shares_most_values_and_follows_from_the_seed() -> None:
    untried = [(1, 1, 2), (1, 2, 1), (2, 2, 2)]
    chosen = [closest(untried, (1, 1, 1), str(seed)) for seed in range(20)]
    assert set(chosen) == set(untried[:2])
    assert chosen == [closest(untried, (1, 1, 1), str(seed)) for seed in range(20)]
