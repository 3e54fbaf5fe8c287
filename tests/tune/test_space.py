import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import FixedTrial

from hcvae.command_line import Command, parse
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.errors import UserError
from hcvae.models import build
from tests.fixtures.studies import SmallSearch
from tune.config import BEST_PRACTICE_SPACE, Choice, Conditional, FloatRange, SearchConfig
from tune.search import plan_search
from tune.space.checks import check_space
from tune.space.default_space import with_space
from tune.space.latents import GLOBAL, LOCAL, SEGMENTS
from tune.space.search_space import apply, searchable_fields, suggest
from tune.study.lock import locked_folder
from tune.study.opening import check_folder, open_study


def config_of(space: dict[str, Any], **model: Any) -> SearchConfig:
    return SearchConfig.model_validate({"model": model, "search": {"space": space}})


def test_best_practice_space_is_valid() -> None:
    check_space(SearchConfig())


@pytest.mark.parametrize(
    ("path", "parameter", "message"),
    [
        ("model.global_latent_dims", {"type": "int", "low": 1, "high": 2}, "did you mean 'model.global_latent_dim'"),
        ("search.trials", {"type": "int", "low": 1, "high": 2}, "no such field"),
        ("training.loss_weights", {"type": "int", "low": 1, "high": 2}, "no such field"),
        (
            "model.early_signal_ratio",
            {"type": "float", "low": 0.1, "high": 1.5},
            "less than or equal to 1, but got 1.5",
        ),
        ("model.early_signal_ratio", {"type": "float", "low": 0.0, "high": 0.5}, "greater than 0, but got 0.0"),
        ("training.batch_size", {"type": "float", "low": 16.5, "high": 64}, "whole number, but got 16.5"),
        ("training.precision", {"type": "choice", "choices": ["fp32", "fp8"]}, "but got 'fp8'"),
        ("training.epochs", {"type": "choice", "choices": [4, True]}, "whole number, but got True"),
        ("data.split.seed", {"type": "int", "low": 0, "high": 9}, "share one prepared data set"),
        ("model.signal_length", {"type": "int", "low": 100, "high": 200}, "share one prepared data set"),
    ],
)
def test_bad_parameters_are_refused(path: str, parameter: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        check_space(config_of({path: parameter}))
    assert str(refused.value).startswith(f"search.space.{path}: ")


@pytest.mark.parametrize(
    ("path", "choices", "equal"),
    [
        ("training.learning_rate", [1, 1.0, 2], "1 and 1.0 are equal"),
        ("training.batch_size", [32, 64, 32], "32 and 32 are equal"),
        ("training.precision", ["fp32", "bf16", "fp32"], "'fp32' and 'fp32' are equal"),
        ("training.batch_size", [1, 1.0, 2], "1 and 1.0 are equal"),
        ("training.batch_size", [True, 1], "True and 1 are equal"),
        # Equal once they are real numbers.
        ("training.loss_weights.swap", [2**53, 2**53 + 1], "9007199254740992 and 9007199254740993 are equal"),
    ],
)
def test_equal_choices_are_refused(path: str, choices: list[Any], equal: str) -> None:
    with pytest.raises(UserError, match=f"^search.space.{path}: choices must differ, but {equal}"):
        check_space(config_of({path: {"type": "choice", "choices": choices}}))


def test_the_network_of_a_bundle_to_start_from_is_not_searched() -> None:
    ratio = {"model.early_signal_ratio": {"type": "float", "low": 0.1, "high": 0.5}}
    fine_tuned = {"training": {"start_from": "one/bundle"}}
    with pytest.raises(UserError, match=r"search.space.model.early_signal_ratio: .*one/bundle.*training.start_from"):
        check_space(SearchConfig.model_validate({**fine_tuned, "search": {"space": ratio}}))
    dropout = {"model.dropout": {"type": "float", "low": 0.1, "high": 0.5}}
    check_space(SearchConfig.model_validate({**fine_tuned, "search": {"space": dropout}}))


@pytest.mark.parametrize(
    ("space", "model"),
    [
        # Some draws of the global dimension are above every local one.
        ({GLOBAL: {"type": "int", "low": 16, "high": 64}, LOCAL: {"type": "int", "low": 32, "high": 48}}, {}),
        ({GLOBAL: {"type": "int", "low": 16, "high": 64}}, {"local_latent_dim": 32}),
        ({GLOBAL: {"type": "int", "low": 8, "high": 24}, LOCAL: {"type": "choice", "choices": [16, 64]}}, {}),
        ({LOCAL: {"type": "choice", "choices": [16, 64]}}, {"global_latent_dim": 32}),
        # Shares of the phases that leave nothing for the last one.
        (
            {f"training.phases.{p}": {"type": "float", "low": 0.1, "high": 0.6} for p in ("reconstruction", "warmup")},
            {},
        ),
    ],
)
def test_bounds_that_do_not_go_together_are_refused(space: dict[str, Any], model: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"search\.space"):
        check_space(config_of(space, **model))


def test_local_dimension_is_raised_to_a_fixed_global_one() -> None:
    config = config_of({LOCAL: {"type": "int", "low": 8, "high": 64}}, global_latent_dim=32)
    check_space(config)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert all(int(suggest(study.ask(), config)[LOCAL]) >= 32 for _ in range(50))


def test_every_draw_is_a_valid_configuration() -> None:
    # The local parameter stands first, and its own low is below most global draws.
    space = {LOCAL: {"type": "int", "low": 16, "high": 64}, GLOBAL: {"type": "int", "low": 16, "high": 64}}
    config = config_of(space)
    check_space(config)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    draws = [suggest(study.ask(), config) for _ in range(100)]
    models = [apply(config, draw).model for draw in draws]
    assert list(draws[0]) == list(space)
    assert all(model.local_latent_dim >= model.global_latent_dim for model in models)
    assert {model.local_latent_dim for model in models} - {model.global_latent_dim for model in models}


def test_a_drawn_trial_gives_the_same_values_again() -> None:
    study = optuna.create_study(directions=["minimize", "maximize"])
    trial = study.ask()
    first = suggest(trial, SearchConfig())
    again = optuna.trial.Trial(study, trial._trial_id)
    assert suggest(again, SearchConfig()) == first


def test_apply_sets_dotted_paths_and_nothing_else() -> None:
    config = SearchConfig()
    applied = apply(config, {"training.loss_weights.global_kl": 0.05, "model.early_signal_ratio": 0.2})
    assert type(applied) is Config
    assert applied.training.loss_weights.global_kl == 0.05
    assert applied.model.early_signal_ratio == 0.2
    assert apply(applied, {"training.loss_weights.global_kl": 0.003, "model.early_signal_ratio": 0.3}) == Config()


def test_choices_and_ranges_are_drawn_by_their_kind() -> None:
    space = {
        "training.precision": {"type": "choice", "choices": ["fp32", "bf16"]},
        "training.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
        "training.batch_size": {"type": "int", "low": 32, "high": 128},
    }
    fixed = {"training.precision": "bf16", "training.learning_rate": 1e-3, "training.batch_size": 64}
    trial = FixedTrial(fixed)  # type: ignore[arg-type]
    assert suggest(trial, config_of(space)) == fixed
    assert trial.distributions["training.learning_rate"].log  # type: ignore[attr-defined]


def test_searchable_fields_are_leaves() -> None:
    paths = dict(searchable_fields())
    assert "training.phases.kl_schedule" in paths
    assert "training.phases" not in paths


# The page docs/search-space.md

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "search-space.md").read_text()


def test_the_example_of_the_page_is_a_valid_space_of_every_kind() -> None:
    config = SearchConfig.model_validate_json(re.findall("```json\n(.*?)```", PAGE, re.DOTALL)[0])
    check_space(config)
    drawn = suggest(optuna.create_study().ask(), config)
    assert drawn["training.loss_weights.swap"] == 2
    assert drawn["training.batch_size"] in (64, 128, 256)
    kinds = {(entry.type, getattr(entry, "log", None)) for entry in config.search.space.values()}
    assert kinds == {("float", False), ("float", True), ("int", False), ("int", True), ("choice", None)}


def test_the_conditional_example_of_the_page_is_valid() -> None:
    config = SearchConfig.model_validate_json(re.findall("```json\n(.*?)```", PAGE, re.DOTALL)[1])
    check_space(config)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for drawn in (suggest(study.ask(), config) for _ in range(20)):
        beta = float(drawn["training.loss_weights.global_kl"])
        assert (beta >= 0.1) == (drawn["training.learned_scales"] == "reconstruction")
        assert ("model.intermediate_latent_dim" in drawn) == (drawn["model.intermediate_levels"] != 0)


def test_the_default_space_of_the_page_is_the_code_s() -> None:
    table = PAGE.partition("## The default space")[2].partition("## ")[0]
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (.*) \|$", table, re.MULTILINE))
    assert rows.keys() == BEST_PRACTICE_SPACE.keys()
    for path, entry in BEST_PRACTICE_SPACE.items():
        text = rows[path].replace("likewise", rows["training.loss_weights.global_kl"])
        if isinstance(entry, Choice):
            assert text.startswith(f"one of {', '.join(map(str, entry.choices))}")
        elif isinstance(entry, Conditional):
            found = re.findall(r"with (\w+) ([\d.]+) to ([\d.]+), log", text)
            assert [(case, float(low), float(high)) for case, low, high in found] == [
                (case, inner.low, inner.high) for case, inner in entry.cases.items() if isinstance(inner, FloatRange)
            ]
        else:
            [(low, high, log)] = re.findall(r"^(?:int )?([\d.]+) to ([\d.]+)(, log)?", text)
            assert (float(low), float(high), bool(log)) == (entry.low, entry.high, entry.log)


def test_all_future_work_of_the_page_can_be_searched_at_once() -> None:
    section = PAGE.partition("## The specification's future work")[2].partition("## ")[0]
    named = set(re.findall(r"`((?:model|training)[a-z_.]+)`", section))
    space = {
        "model.intermediate_levels": {"type": "int", "low": 0, "high": 2},
        "model.intermediate_latent_dim": {"type": "int", "low": 4, "high": 32},
        "training.loss_weights.intermediate_kl": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
        "training.learned_scales": {"type": "choice", "choices": ["none", "reconstruction", "all"]},
        "model.attention": {"type": "choice", "choices": [False, True]},
        "model.local_segments": {"type": "choice", "choices": [1, 2, 4]},
        "training.loss_weights.total_correlation": {"type": "float", "low": 0, "high": 1},
        "model.use_film": {"type": "choice", "choices": [True, False]},
        "training.free_bits": {"type": "float", "low": 0, "high": 0.5},
        "training.phases.kl_schedule": {"type": "choice", "choices": ["linear", "cosine", "cyclical"]},
    }
    assert named == space.keys()
    config = config_of(space)
    check_space(config)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for drawn in (suggest(study.ask(), config) for _ in range(20)):
        training = resolved(apply(config, drawn))
        batch = torch.randn(4, 200), torch.randn(4, 7)
        model = build(training.model)
        noise = [torch.zeros(4, dim) for dim in model.latent_dims.values()]
        assert model(*batch, noise)["recon_signal"].shape == (4, 200)


def resolved(config: Config) -> Config:
    """With the static dimensions of the specification, and narrow."""
    return apply(config, {"model.static_dim": 7, "model.width": 0.05})


# Which space a search has.

TARGET = "training.target"
BOTH = {"type": "choice", "choices": ["same_average", "other_average"]}
RATE = {"training.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-3}}


def without_space(small_search: SmallSearch, **data: Any) -> SearchConfig:
    """The configuration of a search that names no space."""
    tree = small_search().model_dump(mode="json")
    del tree["search"]["space"]
    tree["data"] |= data
    return SearchConfig.model_validate(tree)


@pytest.mark.parametrize(
    ("model_type", "other_averages", "missing"),
    [
        ("hierarchical", True, set()),
        ("hierarchical", False, {TARGET}),
        ("standard", True, {SEGMENTS}),
        ("standard", False, {SEGMENTS, TARGET}),
    ],
)
def test_the_default_space_leaves_out_what_model_and_data_cannot_use(
    model_type: str, other_averages: bool, missing: set[str]
) -> None:
    named_none = SearchConfig.model_validate({"model": {"model_type": model_type}})
    config, reasons = with_space(named_none, None, other_averages=other_averages)
    assert reasons.keys() == BEST_PRACTICE_SPACE.keys() - config.search.space.keys() == missing
    check_space(config)


def test_what_is_left_out_is_told(small_search: SmallSearch) -> None:
    plan = plan_search(without_space(small_search, average_columns=["record_id"]))
    assert f"Not searched: {TARGET}, as the training part has one average of each response" in plan
    assert f" {TARGET}," not in plan.partition("Searched by")[2].partition("\n")[0]


@pytest.mark.parametrize("entry", [BOTH, {"type": "conditional", "on": "model.local_segments", "cases": {"1": BOTH}}])
def test_a_named_target_that_the_data_lack_is_refused(entry: dict[str, Any]) -> None:
    config = config_of({TARGET: entry, SEGMENTS: {"type": "choice", "choices": [1, 2]}})
    assert with_space(config, None, other_averages=True) == (config, {})
    with pytest.raises(UserError, match=rf"^search.space.{TARGET}: 'other_average' needs several averages"):
        with_space(config, None, other_averages=False)


def test_a_study_keeps_its_space_where_none_is_named(small_search: SmallSearch) -> None:
    config = small_search(space=RATE)
    fingerprint = prepare(config).fingerprint
    with locked_folder(config) as folder:
        open_study(folder, config, fingerprint)
        wider = small_search(space={"training.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2}})
        with pytest.raises(UserError, match=r"search\.space\.training\.learning_rate\.high: 0\.001 -> 0\.01"):
            check_folder(folder, wider, fingerprint)
    assert "Searched by tpe: training.learning_rate\n" in plan_search(without_space(small_search))


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        ("model.widht", {"type": "float", "low": 0.1, "high": 1}),
        ("model.width", {"type": "uniform", "low": 0.1, "high": 1}),
        ("model.width", {"type": "choice", "choices": [1], "values": [1]}),
        ("model.width", {"type": "float", "low": 1, "high": 8}),
        ("training.batch_size", {"type": "float", "low": 64, "high": 128}),
        (
            "model.intermediate_latent_dim",
            {
                "type": "conditional",
                "on": "model.intermediate_levels",
                "cases": {"1": {"type": "int", "low": 8, "high": 32}},
            },
        ),
    ],
)
def test_messages_of_the_page_are_those_of_the_search(path: str, entry: dict[str, Any]) -> None:
    class Search(SearchConfig, Command):  # type: ignore[misc]
        """Search."""

        @classmethod
        def values_not_given(cls, given: Mapping[str, Any]) -> dict[str, Any]:
            return {"search": {"space": {path: entry}}}

    with pytest.raises(UserError) as refused:
        check_space(parse(Search, []))
    assert f"| `{refused.value}` |" in PAGE
