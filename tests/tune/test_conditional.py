"""Parameters that depend on others: names, samplers, counting, chosen trials, warm starts, reports."""

import copy
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from hcvae.errors import UserError
from tests.fixtures.studies import SmallSearch
from tune.config import SearchConfig
from tune.report.html import html_report
from tune.report.results import SearchResult
from tune.space.checks import check_space
from tune.space.combinations import combinations
from tune.space.conditional import all_names, by_name, by_path
from tune.space.latents import GLOBAL, LOCAL, SEGMENTS
from tune.space.search_space import apply, corners, suggest
from tune.study.initial_trials import (
    add_earlier_trials,
    check_first_trials,
    default_trials,
    earlier_trials,
    enqueue_first_trials,
)
from tune.study.leases import Leases
from tune.study.lock import locked_folder
from tune.study.opening import open_study
from tune.study.samplers import ask, is_exhausted, make_sampler, suggest_parameters
from tune.study.trial_attributes import attributes_of

SCALES, KL = "training.learned_scales", "training.loss_weights.global_kl"
LEVELS, LEVEL_DIM = "model.intermediate_levels", "model.intermediate_latent_dim"
TYPE = "model.model_type"
SAMPLERS = ("tpe", "gp", "nsga2", "random", "auto")


def choice(*choices: Any) -> dict[str, Any]:
    return {"type": "choice", "choices": choices}


def number(low: float, high: float, **settings: Any) -> dict[str, Any]:
    return {"type": "float", "low": low, "high": high, **settings}


def whole(low: int, high: int, **settings: Any) -> dict[str, Any]:
    return {"type": "int", "low": low, "high": high, **settings}


def cases(on: str, **entries: dict[str, Any]) -> dict[str, Any]:
    return {"type": "conditional", "on": on, "cases": entries}


SPACE = {
    # The conditional parameter stands first: it is suggested after what it depends on all the same.
    KL: cases(SCALES, none=number(1e-4, 1e-1, log=True), reconstruction=number(0.1, 10, log=True)),
    SCALES: choice("none", "reconstruction", "all"),
    LEVELS: whole(0, 2),
    LEVEL_DIM: cases(LEVELS, **{"1": whole(8, 32), "2": whole(4, 16)}),
}


def config_of(space: dict[str, Any], sampler: str = "tpe", **model: Any) -> SearchConfig:
    return SearchConfig.model_validate({"model": model, "search": {"space": space, "sampler": sampler}})


def in_its_case(params: dict[str, Any]) -> bool:
    """Whether the values are those that `SPACE` allows, written out by hand."""
    kl = {"none": (1e-4, 1e-1), "reconstruction": (0.1, 10), "all": None}[params[SCALES]]
    dim = {0: None, 1: (8, 32), 2: (4, 16)}[params[LEVELS]]
    kl_is_right = (KL not in params) if kl is None else kl[0] <= params[KL] <= kl[1]
    return kl_is_right and ((LEVEL_DIM not in params) if dim is None else dim[0] <= params[LEVEL_DIM] <= dim[1])


def study_of(config: SearchConfig) -> optuna.Study:
    return optuna.create_study(directions=["minimize", "maximize"], sampler=make_sampler(config, 0))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_keeps_to_the_case(sampler: str) -> None:
    config = config_of(SPACE, sampler)
    check_space(config)
    study = study_of(config)
    cases_seen = set()
    for step in range(24):
        trial, params = ask(study, config)
        assert in_its_case(params)
        assert list(params) == [path for path in SPACE if path in params]
        assert by_path(trial.params) == params
        trained = apply(config, params)
        assert KL in params or trained.training.loss_weights.global_kl == 0.003  # the configuration's own
        cases_seen.add((params[SCALES], params[LEVELS]))
        study.tell(trial, (params.get(KL, 1.0), float(step)))
    assert len(cases_seen) > 3


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2"])
def test_a_name_has_one_distribution_and_samplers_learn_each_case(sampler: str) -> None:
    config = config_of(SPACE, sampler)
    study = study_of(config)
    for step in range(30):
        trial, _ = ask(study, config)
        study.tell(trial, (float(step), 0.5))
    found: dict[str, set[str]] = {}
    for frozen in study.trials:
        for name, distribution in frozen.distributions.items():
            found.setdefault(name, set()).add(str(distribution))
    assert {name: len(kinds) for name, kinds in found.items()} == dict.fromkeys(all_names(config.search.space), 1)
    assert found[f"{KL} if {SCALES}=none"] == {str(FloatDistribution(1e-4, 1e-1, log=True))}
    learned = study.sampler.infer_relative_search_space(study, study.trials[-1])
    if sampler != "tpe":  # those samplers learn only about names that every trial has
        assert learned.keys() == all_names(config.search.space).keys()


def test_tpe_finds_the_best_value_of_the_case_that_is_best() -> None:
    config = config_of({SCALES: SPACE[SCALES], KL: SPACE[KL]})
    study = study_of(config)

    def loss(params: dict[str, Any]) -> float:
        if params[SCALES] != "reconstruction":
            return 5.0
        return abs(float(params[KL]) - 2.0)

    losses = []
    for _ in range(80):
        trial, params = ask(study, config)
        losses.append(loss(params))
        study.tell(trial, (losses[-1], 0.5))
    assert min(losses) < 0.1
    late = Counter(trial.params[SCALES] for trial in study.trials[40:])
    assert late["reconstruction"] > 25


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({KL: cases(SCALES, none=number(0, 1))}, rf"^search.space.{KL}.on: {SCALES} is not in search.space"),
        (
            {KL: cases("training.learned_scale", none=number(0, 1)), SCALES: SPACE[SCALES]},
            r"there is no field training.learned_scale; did you mean 'training.learned_scales'",
        ),
        (
            {KL: cases(SCALES, reconstructions=number(0, 1)), SCALES: SPACE[SCALES]},
            rf"^search.space.{KL}.cases.reconstructions: {SCALES}, in .'none', 'reconstruction', 'all'., cannot be "
            r"reconstructions; did you mean 'reconstruction'",
        ),
        (
            {LEVEL_DIM: cases(LEVELS, **{"3": whole(1, 2)}), LEVELS: whole(0, 2)},
            rf"cases.3: {LEVELS}, in \[0, 2\], cannot be 3; must be one of 0, 1, 2",
        ),
        (
            {KL: cases(SCALES, none=number(-1, 1)), SCALES: SPACE[SCALES]},
            rf"^search.space.{KL}.cases.none: .*greater than or equal to 0, but got -1.0",
        ),
        (
            {LEVEL_DIM: cases(LEVELS, **{"1": number(1, 2)}), LEVELS: whole(0, 2)},
            "whole number, but got 1.0",
        ),
        (
            {SCALES: cases(KL, none=choice("all")), KL: number(0, 1)},
            rf"^search.space.{SCALES}.on: {KL} is a range of real numbers",
        ),
        # A circle, of two and of one.
        (
            {
                SCALES: cases(LEVELS, **{"1": choice("all")}),
                LEVELS: cases(SCALES, none=whole(0, 1)),
            },
            rf"^search.space.{SCALES}.on: {LEVELS} depends on {SCALES} itself; name a parameter without cases",
        ),
        ({SCALES: cases(SCALES, none=choice("all"))}, f"{SCALES} depends on {SCALES} itself"),
        ({GLOBAL: cases(LEVELS, **{"1": whole(1, 2)}), LEVELS: whole(0, 2)}, f"{GLOBAL}: must have one entry"),
        ({LEVEL_DIM: cases(LOCAL, **{"32": whole(1, 2)}), LOCAL: whole(32, 64)}, f"{LOCAL} is adapted to"),
        # Only one of the cases does not suit the rest.
        (
            {TYPE: choice("hierarchical", "standard"), LEVELS: cases(TYPE, standard=whole(0, 2))},
            "its bounds do not go together: .*intermediate_levels is for hierarchical models",
        ),
    ],
)
def test_conditions_that_cannot_be_are_refused(space: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_space(config_of(space))


def test_what_a_case_leaves_out_is_the_configuration_s() -> None:
    # A standard model has no segments.
    space = {TYPE: choice("hierarchical", "standard"), SEGMENTS: cases(TYPE, hierarchical=choice(1, 2, 4))}
    check_space(config_of(space))
    with pytest.raises(UserError, match="local_segments is for hierarchical models"):
        check_space(config_of(space | {SEGMENTS: choice(1, 2, 4)}))
    largest = [training.model for training in corners(config_of(space), max)]
    assert {(model.model_type, model.local_segments) for model in largest} == {("hierarchical", 4), ("standard", 1)}


@pytest.mark.parametrize(
    ("space", "n"),
    [
        ({SCALES: choice("none", "all"), LEVELS: whole(0, 2), LEVEL_DIM: SPACE[LEVEL_DIM]}, 2 * (1 + 25 + 13)),
        ({LEVEL_DIM: SPACE[LEVEL_DIM], LEVELS: whole(0, 1)}, 0),  # the case 2 cannot be: refused before
        ({TYPE: choice("hierarchical", "standard"), SEGMENTS: cases(TYPE, hierarchical=choice(1, 2, 4))}, 4),
        ({SCALES: choice("none", "all"), KL: SPACE[KL]}, 0),
        # z_local has 8 or 12 dimensions: a multiple of 3 segments is only 12.
        ({SEGMENTS: choice(1, 2, 3), LOCAL: choice(8, 12)}, 5),
    ],
)
def test_a_finite_space_is_counted(space: dict[str, Any], n: int) -> None:
    config = config_of(space, global_latent_dim=4, local_latent_dim=12)
    if n == 0 and LEVEL_DIM in space:
        with pytest.raises(UserError, match=r"cases\.2"):
            check_space(config)
        return
    found = combinations(config)
    assert len(found) == len(set(found)) == n


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_finite_space_is_exhausted_once(sampler: str) -> None:
    space = {TYPE: choice("hierarchical", "standard"), LEVELS: cases(TYPE, hierarchical=whole(0, 2)), KL: choice(0.1)}
    config = config_of(space, sampler)
    study = study_of(config)
    found = []
    while not is_exhausted(study, config):
        trial, params = ask(study, config)
        Leases(study).acquire(trial, 0, adopted=False)
        found.append(tuple(sorted(params.items())))
        study.tell(trial, (1 / (len(found)), 0.5))
        assert len(found) < 10
    assert len(found) == len(set(found)) == 4


# Chosen trials.


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2"])
def test_chosen_trials_are_named_by_paths(small_search: SmallSearch, sampler: str) -> None:
    chosen = {SCALES: "reconstruction", KL: 2.5, LEVELS: 2, LEVEL_DIM: 5}
    config = small_search(space=SPACE, sampler=sampler, first_trials=[chosen, {SCALES: "all"}])
    check_first_trials(config)
    for start in range(2):
        with locked_folder(config) as folder:
            study = open_study(folder, config, "data")
            enqueue_first_trials(study, config)
            assert len(study.get_trials(states=(TrialState.WAITING,))) == (0 if start else 2)
            first, second = (ask(study, config)[1] for _ in range(2))
        if start == 0:
            assert first == chosen
            assert second[SCALES] == "all"
            assert KL not in second


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({KL: 0.01}, f"names {KL}, whose values depend on {SCALES}; name both"),
        ({KL: 0.01, SCALES: "reconstruction"}, rf"{KL}: must be in \[0.1, 10.0\], but got 0.01"),
        ({KL: 0.01, SCALES: "all"}, f"{KL}: is not searched where {SCALES} is all; leave it out"),
        ({LEVELS: 0, LEVEL_DIM: 8}, f"is not searched where {LEVELS} is 0"),
        ({LEVELS: 2, LEVEL_DIM: 32}, r"must be in \[4, 16\], but got 32"),
        ({f"{KL} if {SCALES}=none": 0.01}, "name both"),
        (
            {f"{KL} if {SCALES}=nonsense": 0.01, SCALES: "none"},
            f"{KL} if .*: is not searched where {SCALES} is nonsense",
        ),
        ({f"{SCALES} if {LEVELS}=1": "all", LEVELS: 1}, "not in search.space"),
    ],
)
def test_chosen_trials_outside_their_case_are_refused(
    small_search: SmallSearch, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_first_trials(small_search(space=SPACE, first_trials=[params]))


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_other_programs_may_enqueue_paths_and_copies_of_trials(small_search: SmallSearch, sampler: str) -> None:
    config = small_search(space=SPACE, sampler=sampler)
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        study.enqueue_trial({SCALES: "none", KL: 0.02})
        first, params = ask(study, config)
        assert (params[SCALES], params[KL]) == ("none", 0.02)
        study.enqueue_trial(first.params)  # Optuna's names
        again, copied = ask(study, config)
        assert (copied, again.number) == (params, 1)
        study.enqueue_trial({SCALES: "none", KL: 2.0})
        kl = {KL: FloatDistribution(0, 10)}
        study.add_trial(create_trial(state=TrialState.WAITING, params={KL: 0.02}, distributions=kl))
        trial, _ = ask(study, config)
        assert trial.number == 4
        reasons = [attributes_of(study.trials[number])["failure"] for number in (2, 3)]
        assert "must be in [0.0001, 0.1], but got 2.0" in reasons[0]
        assert "use Study.enqueue_trial" in reasons[1]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2"])
def test_an_interrupted_trial_keeps_its_parameters(small_search: SmallSearch, sampler: str) -> None:
    config = small_search(space=SPACE, sampler=sampler)
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        study.enqueue_trial({SCALES: "reconstruction", KL: 3.0})
        before = [ask(study, config)[1] for _ in range(3)]
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        running = [Trial(study, frozen._trial_id) for frozen in study.get_trials()]
        assert [suggest_parameters(study, trial, config, adopted=True) for trial in running] == before


def test_defaults_are_those_of_the_case(small_search: SmallSearch) -> None:
    def defaults(**training: Any) -> list[dict[str, Any]]:
        return list(default_trials(small_search(space=SPACE, training=training)))

    assert defaults()[0] == {KL: 0.003, SCALES: "none", LEVELS: 0}
    plain_vae = {"learned_scales": "reconstruction", "loss_weights": {"global_kl": 1}}
    # The specification's KL weight, 0.01, is outside of the range of this case.
    assert defaults(**plain_vae)[:2] == [
        {KL: 1.0, SCALES: "reconstruction", LEVELS: 0},
        {SCALES: "reconstruction", LEVELS: 0},
    ]
    assert defaults(learned_scales="all")[0] == {SCALES: "all", LEVELS: 0}
    others = small_search(space=SPACE | {SCALES: choice("reconstruction", "all")})
    assert next(default_trials(others)) == {LEVELS: 0}  # nothing depends on a value that is left to the sampler


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2"])
def test_trials_of_a_plain_space_are_a_warm_start(
    small_search: SmallSearch, tell_trained: Callable[..., FrozenTrial], sampler: str
) -> None:
    earlier = small_search(study="earlier", space={KL: number(1e-3, 1, log=True)})
    with locked_folder(earlier) as folder:
        study = open_study(folder, earlier, "data")
        for kl in (0.01, 0.5):
            study.enqueue_trial({KL: kl})
            tell_trained(study, ask(study, earlier)[0], (kl, 0.5))
    config = small_search(space=SPACE, sampler=sampler, warm_start=str(folder.path))
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        add_earlier_trials(study, config, earlier_trials(config, "data"))
        # Likelihood and levels had the values of that configuration; 0.5 is no KL weight of this case.
        whole_trial, part = {KL: 0.01, SCALES: "none", LEVELS: 0}, {SCALES: "none", LEVELS: 0}
        expected = [whole_trial, part] if sampler == "tpe" else [whole_trial]
        assert [by_path(trial.params) for trial in study.trials] == expected
        if sampler != "tpe":
            learned = study.sampler.infer_relative_search_space(study, study.trials[-1])
            assert learned.keys() == all_names(config.search.space).keys()
        assert in_its_case(ask(study, config)[1])


# Latent dimensions and segments.


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("log", [False, True])
def test_the_local_dimension_is_a_multiple_of_the_segments(sampler: str, log: bool) -> None:
    space = {GLOBAL: whole(16, 64), LOCAL: whole(17, 66, log=log), SEGMENTS: choice(1, 2, 3)}
    config = config_of(space, sampler)
    check_space(config)
    study = study_of(config)
    for step in range(15):
        trial, params = ask(study, config)
        assert params[LOCAL] % params[SEGMENTS] == 0
        assert params[GLOBAL] <= params[LOCAL] <= 66
        assert trial.params == params
        study.tell(trial, (float(step), 0.5))
    assert not study.get_trials(states=(TrialState.FAIL,))  # none was refused
    assert {params[SEGMENTS] for params in map(by_path, (trial.params for trial in study.trials))} == {1, 2, 3}


@pytest.mark.parametrize(
    ("space", "model", "message"),
    [
        # No multiple of 4 from 62 to 63.
        ({LOCAL: whole(62, 63), SEGMENTS: choice(1, 4)}, {}, f"with 4 segments {LOCAL} must be a multiple of 4"),
        ({GLOBAL: whole(16, 62), LOCAL: whole(16, 63), SEGMENTS: choice(1, 4)}, {}, "with 4 segments"),
        ({LOCAL: choice(32, 34), SEGMENTS: choice(1, 4)}, {}, "but got 34; 36 would be right"),
        ({SEGMENTS: choice(1, 3, 4)}, {}, "with 3 segments .* but got 32; 33 would be right"),
        ({SEGMENTS: whole(1, 3)}, {}, "with 3 segments"),
    ],
)
def test_spaces_without_a_multiple_are_refused(space: dict[str, Any], model: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_space(config_of(space, **model))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({LOCAL: 34, SEGMENTS: 4}, "must be a multiple of model.local_segments, which may be 4, but got 34; 36 would"),
        ({LOCAL: 34}, f"which may be 4, but got 34; 36 would be right, or name {SEGMENTS} too"),
    ],
)
def test_chosen_local_dimensions_must_be_multiples(
    small_search: SmallSearch, params: dict[str, Any], message: str
) -> None:
    space = {LOCAL: whole(32, 64), SEGMENTS: choice(1, 4)}
    with pytest.raises(UserError, match=message):
        check_first_trials(small_search(space=space, first_trials=[params]))
    check_first_trials(small_search(space=space, first_trials=[{LOCAL: 34, SEGMENTS: 1}, {LOCAL: 36}]))


def test_a_fixed_number_of_segments_counts_too() -> None:
    config = config_of({LOCAL: whole(32, 64)}, local_segments=3, local_latent_dim=33)
    check_space(config)
    study = study_of(config)
    assert {int(ask(study, config)[1][LOCAL]) % 3 for _ in range(10)} == {0}


# What users see.


def test_results_and_report_name_paths(small_search: SmallSearch, tell_trained: Callable[..., FrozenTrial]) -> None:
    config = small_search(space=SPACE, sampler="gp")
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        study.enqueue_trial({SCALES: "none", KL: 0.02, LEVELS: 1, LEVEL_DIM: 9})
        study.enqueue_trial({SCALES: "reconstruction", KL: 3.0, LEVELS: 0})
        for values in ((0.2, 0.5), (0.3, 0.6)):
            tell_trained(study, ask(study, config)[0], values)
        page = html_report(folder)
    result = SearchResult.open(folder.path)
    assert [trial.params for trial in result.trials] == [
        {KL: 0.02, SCALES: "none", LEVELS: 1, LEVEL_DIM: 9},
        {KL: 3.0, SCALES: "reconstruction", LEVELS: 0},
    ]
    assert result.config(0).training.loss_weights.global_kl == 0.02
    assert result.config(1).model.intermediate_latent_dim == 16  # the configuration's own
    table = result.table()
    shown = dict(zip(table.headers[3:], table.rows[1][3:], strict=True))
    assert shown == {
        "global_kl": "3",
        "learned_scales": "reconstruction",
        "intermediate_levels": "0",
        "intermediate_latent_dim": "-",
    }
    assert not re.search(rf"{re.escape(KL)} if", page)
    assert "Left out, because not every trial has them: model.intermediate_latent_dim" in page


def test_names_and_paths_go_both_ways() -> None:
    space = config_of(SPACE).search.space
    params = {KL: 0.02, SCALES: "none", LEVELS: 1, LEVEL_DIM: 9}
    named = by_name(params, space)
    assert named[f"{KL} if {SCALES}=none"] == 0.02
    assert by_path(named) == params
    other_case = named | {f"{KL} if {SCALES}=reconstruction": 5.0}
    assert by_path(other_case) == params
    assert by_path({"x": 1}) == {"x": 1}


def test_a_space_survives_its_file(tmp_path: Path) -> None:
    config = config_of(SPACE)
    assert SearchConfig.model_validate_json(config.model_dump_json()) == config
    assert copy.deepcopy(config) == config
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    assert in_its_case(suggest(trial, config))
    assert isinstance(trial.distributions[LEVELS], IntDistribution)
