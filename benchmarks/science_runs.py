"""The trainings that `docs/science.md` reports: main models, ablations, and a quick tier of each.

Simulated waveforms: 20,000, 40 epochs, batches of 128. Every run is one training; its seed is the training's seed,
the data and their split are the same for all. Latents have the specification's dimensions, 32 and 32.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from benchmarks.records import RESULTS
from tune.objectives import SPECIFIED, Point
from tune.study.pareto import compromise, pareto_front

SEEDS = range(5)
ABLATION_SEEDS = range(2)
RECOMMENDED: dict[str, Any] = {}
"""The product's defaults."""
PLAIN: dict[str, Any] = {"training": {"loss_weights": {"swap": 0.0, "global_kl": 0.01, "local_kl": 0.01}}}
"""The hierarchical model with the specification's loss and weights."""
STANDARD: dict[str, Any] = {"model": {"model_type": "standard"}, "training": {"loss_weights": {"kl": 0.01}}}
"""The specification's standard CVAE."""
MAIN = {"recommended": RECOMMENDED, "plain": PLAIN, "standard": STANDARD}
SEARCHED = RESULTS / "science-search.jsonl"
"""The trials of `benchmarks/science_search.py`."""
RECORDED_TABLES = ("human_click_shipm.parquet", "mouse_tone_shipm.parquet")


def _weights(**weights: float) -> dict[str, Any]:
    return {"training": {"loss_weights": weights}}


ABLATIONS: dict[str, dict[str, Any]] = {
    "recommended": RECOMMENDED,
    "plain": PLAIN,
    "standard": STANDARD,
    "same KL weights, no swap": _weights(swap=0.0),
    **{f"swap {weight:g}": _weights(swap=weight) for weight in (0.03, 0.1, 0.3, 3.0)},
    "no FiLM": {"model": {"use_film": False}},
    "no FiLM, no swap": _weights(swap=0.0) | {"model": {"use_film": False}},
    **{f"early ratio {ratio:g}": {"model": {"early_signal_ratio": ratio}} for ratio in (0.1, 0.45, 0.6)},
    "KL 0.001, 0.01 (best practice)": _weights(global_kl=0.001, local_kl=0.01),
    "KL 0.001, 0.01, no swap": _weights(global_kl=0.001, local_kl=0.01, swap=0.0),
    "KL 0.01, 0.001, no swap": _weights(global_kl=0.01, local_kl=0.001, swap=0.0),
    "KL 0.01, 0.01 (the specification's)": _weights(global_kl=0.01, local_kl=0.01),
    "total correlation 0.01, no swap": _weights(swap=0.0, total_correlation=0.01),
    "Gaussian likelihood, beta 1": {
        "training": {"learned_scales": "reconstruction", "loss_weights": {"global_kl": 1.0, "local_kl": 1.0}}
    },
    "learned weights, beta 1": {
        "training": {"learned_scales": "all", "loss_weights": {"global_kl": 1.0, "local_kl": 1.0}}
    },
    "free bits 0.05": {"training": {"free_bits": 0.05}},
    "one phase": {"training": {"phases": {"reconstruction": 0.0, "warmup": 0.0}}},
    "1 intermediate level": {"model": {"intermediate_levels": 1}},
    "2 intermediate levels": {"model": {"intermediate_levels": 2}},
    "attention": {"model": {"attention": True}},
    "4 time segments": {"model": {"local_segments": 4}},
}
"""At width 0.25."""
FOUND: dict[str, dict[str, Any]] = {
    "found by search, no. 93": {
        "model": {"global_latent_dim": 46, "local_latent_dim": 118, "early_signal_ratio": 0.5435},
        "training": {"loss_weights": {"global_kl": 0.0072, "local_kl": 0.0003, "swap": 8.74}},
    },
    "found by search, no. 129": {
        "model": {"global_latent_dim": 61, "local_latent_dim": 118, "early_signal_ratio": 0.247},
        "training": {"loss_weights": {"global_kl": 0.0023, "local_kl": 0.003, "swap": 2.16}},
    },
}
"""At width 0.25: two on the front of the 200 configurations of results/early-stopping, searched at width 0.1."""
DENOISING: dict[str, dict[str, Any]] = {
    "target another average": {"training": {"target": "other_average"}},
    "target another average, likelihood": {
        "training": {
            "target": "other_average",
            "learned_scales": "reconstruction",
            "loss_weights": {"global_kl": 1.0, "local_kl": 1.0},
        }
    },
}
"""At width 0.25."""
DENOISED: dict[str, dict[str, Any]] = {
    "denoised swap targets": {"training": {"swap_targets": "denoised", "loss_weights": {"swap": 10.0}}},
    "denoised swap targets, another average": {
        "training": {"target": "other_average", "swap_targets": "denoised", "loss_weights": {"swap": 10.0}}
    },
}
"""At width 0.25."""
PRECISION: dict[str, dict[str, Any]] = {"recommended in bf16": {"training": {"precision": "bf16"}}}
"""At width 0.25, whose other trainings are in fp32."""


@dataclass(frozen=True)
class Run:
    """One training."""

    group: str
    """Its table of docs/science.md."""
    name: str
    """Its row of the table."""
    seed: int
    config: dict[str, Any] = field(repr=False)
    """Configuration in the form of JSON."""

    @property
    def key(self) -> str:
        """The name of the run in its file of records."""
        words = re.sub(r"[^\w.]|_", "-", self.name)
        return f"{self.group}--{words}--{self.seed}"


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes`, section by section."""
    result = dict(base)
    for name, value in changes.items():
        result[name] = merged(result.get(name, {}), value) if isinstance(value, Mapping) else value
    return result


def simulated(rows: int, epochs: int, width: float) -> dict[str, Any]:
    """Return the base of a run on simulated waveforms."""
    return {
        "model": {"width": width},
        "data": {"simulator": {"rows": rows}},
        "training": {
            "epochs": epochs,
            "batch_size": 128,
            "precision": "bf16" if width >= 1 else "fp32",
            "early_stopping_patience": None,
        },
    }


QUARTER = simulated(20_000, 40, 0.25)
"""The base of the ablations."""
WHOLE = simulated(20_000, 40, 1.0)
"""The base of the main models."""


def recorded(folder: Path, width: float) -> dict[str, Any]:
    """Return the base of a run on the recordings in `folder`, split by recording; see configs/recordings.json."""
    return {
        "model": {"width": width, "predict_peaks": False},
        "data": {
            "tables": [str(folder / name) for name in RECORDED_TABLES],
            "static": ["stimulus_level_db", "stimulus_frequency_hz", "n_averages", "species"],
            "average_columns": ["subject_id", "stimulus_level_db"],
        },
        "normalization": {"group_by": "species"},
        "training": {"epochs": 60, "batch_size": 64, "precision": "fp32"},
    }


def searched() -> dict[int, dict[str, Any]]:
    """Return the complete trials of the recorded search at width 0.25, by number; 0 has the defaults."""
    trials = map(json.loads, SEARCHED.read_text().splitlines())
    return {trial["number"]: trial for trial in trials if trial["state"] == "complete"}


def points_of(trials: Mapping[int, Mapping[str, Any]]) -> dict[int, Point]:
    """Return the objectives of trials."""
    return {number: (trial["reconstruction_nmse"], trial["disentanglement"]) for number, trial in trials.items()}


def found_at_quarter() -> dict[str, dict[str, Any]]:
    """Return the trial of the recorded search with the lowest NMSE, then the knee, which `jobs.pull` takes."""
    trials = searched()
    points = points_of(trials)
    best = compromise(points, SPECIFIED)
    chosen = (pareto_front(points, SPECIFIED)[0], best.number if best else None)
    return {
        f"found at width 0.25, no. {number}": _changes(trials[number]["params"])
        for number in chosen
        if number is not None
    }


def _changes(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a trial as changes of the configuration, with the precision of the search."""
    changes = PRECISION["recommended in bf16"]
    for path, value in params.items():
        nested = reduce(lambda inner, name: {name: inner}, reversed(path.split(".")), value)
        changes = merged(changes, nested)
    return changes


def runs(tier: str, recordings: Path) -> Iterator[Run]:
    """Yield the runs of a tier, `quick` or `full`, in the order of their importance."""
    if tier == "quick":
        yield from _group("quick", MAIN, range(1), simulated(3000, 20, 0.1))
        return
    found = found_at_quarter()
    lowest_nmse = next(iter(found))
    yield from _group("quarter", MAIN, SEEDS, QUARTER)
    yield from _group("recordings", MAIN, SEEDS, recorded(recordings, 0.25))
    yield from _group("quarter", ABLATIONS, ABLATION_SEEDS, QUARTER, without=MAIN)
    yield from _group("quarter", FOUND | PRECISION | found, SEEDS, QUARTER)
    yield from _group("full", MAIN, SEEDS, WHOLE)
    yield from _group("full", {lowest_nmse: found[lowest_nmse]}, SEEDS, WHOLE)
    yield from _group("recordings-full", MAIN, SEEDS, recorded(recordings, 1.0))
    yield from _group("recordings", DENOISING, SEEDS, recorded(recordings, 0.25))
    yield from _group("quarter", DENOISING, ABLATION_SEEDS, QUARTER)
    yield from _group("quarter", DENOISED, range(3), QUARTER)
    yield from _group("recordings", DENOISED, SEEDS, recorded(recordings, 0.25))


def _group(
    group: str,
    variants: Mapping[str, Mapping[str, Any]],
    seeds: range,
    base: Mapping[str, Any],
    without: Mapping[str, Any] | None = None,
) -> Iterator[Run]:
    for seed in seeds:
        for name, changes in variants.items():
            if name not in (without or {}):
                config = merged(merged(base, changes), {"training": {"seed": seed}})
                yield Run(group, name, seed, config)
