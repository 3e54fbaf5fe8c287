"""The trials that a search starts from: chosen ones that run first, and the finished ones of an earlier study."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from hcvae.errors import UserError
from hcvae.storage import StoragePath
from tune.config import Conditional, SearchConfig
from tune.objectives import directions_of, names_of
from tune.space.chosen import check_chosen
from tune.space.conditional import all_names, by_name, by_path, case_of, in_effect, parts_of, paths_in_effect
from tune.space.entries import bounds, holds
from tune.space.latents import GLOBAL, LOCAL, possible_segments
from tune.space.search_space import Values, value_of
from tune.study.folder import StudyFolder, StudyRecord
from tune.study.leases import OUTSIDE_BUDGET, lease_of, outside_budget, study_id
from tune.study.opening import finished_trials, recorded_directions
from tune.study.repetition import repetition_of
from tune.study.samplers import CONSTRAINT, SAME_NAMES, check_choices, distribution_of

COPY_OF = "copy_of"
"""User attribute of a trial of an earlier study: its unique identifier there."""
FIRST_KL_WEIGHTS: tuple[dict[str, float], ...] = (
    {},  # the configuration's own
    {"training.loss_weights.global_kl": 0.01, "training.loss_weights.local_kl": 0.01},  # the specification's
    {"training.loss_weights.global_kl": 0.001, "training.loss_weights.local_kl": 0.01},  # of its best practices
)
"""KL weights of the trials that `search.start_from_defaults` adds."""


def check_first_trials(config: SearchConfig) -> None:
    """Check that each of `search.first_trials` lies in the space.

    Raises:
        UserError: a path that is not searched, a value outside its range, or incompatible latent dimensions.
    """
    for index, params in enumerate(config.search.first_trials):
        check_chosen(params, config, f"search.first_trials[{index}]")


def enqueue_first_trials(study: optuna.Study, config: SearchConfig) -> None:
    """Enqueue the chosen trials, and as many defaults as the budget has room for; those that the study already has are
    not run again."""
    for params in config.search.first_trials:
        study.enqueue_trial(dict(params), skip_if_exists=True)
    if config.search.start_from_defaults:
        for params in default_trials(config):
            if _n_in_budget(study) < config.search.trials:
                study.enqueue_trial(dict(params), skip_if_exists=True)


def _n_in_budget(study: optuna.Study) -> int:
    """Return how many trials count against the budget, or will when they have ended."""
    identity = study_id(study)
    count = 0
    for trial in study.get_trials(deepcopy=False):
        if repetition_of(trial, identity) is None and outside_budget(trial, identity) is None:
            count += 1
    return count


def default_trials(config: SearchConfig) -> Iterator[Values]:
    """Yield the configuration's own values, then the KL weights of the specification and of its best practices.

    A value outside the space is left to the sampler, and so is one that depends on such a value.
    """
    own = _own_values(config, config.search.space)
    for weights in FIRST_KL_WEIGHTS:
        params = _within(own | weights, config)
        latents = {GLOBAL, LOCAL} & config.search.space.keys()
        local = int(params.get(LOCAL, 0))
        has_remainder = any(local % segments for segments in possible_segments(config, params))
        if has_remainder or not latents <= params.keys():  # one alone may not suit the other
            params.pop(GLOBAL, None)
            params.pop(LOCAL, None)
        if params:
            yield params


def _own_values(config: SearchConfig, paths: Iterable[str]) -> dict[str, Any]:
    return {path: value_of(config, path) for path in paths}


def _within(values: Mapping[str, Any], config: SearchConfig) -> Values:
    """Return those of `values`, by path, that the space allows."""
    space = config.search.space
    always = {}
    for path, parameter in space.items():
        if not isinstance(parameter, Conditional) and holds(parameter, values[path]):
            always[path] = values[path]
    params = {}
    for path in paths_in_effect(space, always):
        entry = in_effect(space[path], always)
        if entry is not None and holds(entry, values[path]):
            params[path] = values[path]
    return params


def earlier_trials(config: SearchConfig, data_fingerprint: str) -> tuple[FrozenTrial, ...]:
    """Return the finished trials of the study that `search.warm_start` names; none where it names none.

    Raises:
        UserError: there is no study, or its trials cannot be compared with those of this one.
    """
    if config.search.warm_start is None:
        return ()
    folder = StudyFolder(config.search.warm_start)
    if folder.place.is_same(StoragePath.of(config.search.storage) / config.search.study):
        raise UserError(f"search.warm_start: {folder} is this study itself; name an earlier one, or null")
    record = folder.read_record()
    study = folder.load()
    _check_comparable(folder, record, study, config, data_fingerprint)
    names = all_names(config.search.space).keys()
    found = []
    for trial in finished_trials(study):
        if trial.state == TrialState.FAIL:
            continue
        check_choices(trial, config, f"search.warm_start: {folder}", "warm_start null")
        translated = _translated(trial, record.config, config)
        if config.search.sampler not in SAME_NAMES or names <= translated.params.keys():
            found.append(translated)
    return tuple(found)


def _check_comparable(
    folder: StudyFolder, record: StudyRecord, study: optuna.Study, config: SearchConfig, data_fingerprint: str
) -> None:
    objectives = config.search.compared_by
    compared = {
        "objectives": (tuple(study.metric_names or ()), names_of(objectives)),
        "their directions": (recorded_directions(study.directions), directions_of(objectives)),
        "constraints": (record.config.search.constraints, config.search.constraints),
        "data (fingerprint)": (record.data_fingerprint[:12], data_fingerprint[:12]),
        "training.epochs": (record.config.training.epochs, config.training.epochs),
    }
    differences = []
    for name, (there, here) in compared.items():
        if there != here:
            differences.append(f"{name}: {there} there, {here} here")
    if differences:
        raise UserError(
            f"search.warm_start: the trials of {folder} cannot be compared with those of this study "
            f"({'; '.join(differences)}); name a study of the same data and epochs, or null"
        )


def _translated(trial: FrozenTrial, there: SearchConfig, here: SearchConfig) -> FrozenTrial:
    """Return a copy of an earlier trial with the names and bounds of this study.

    A parameter that was not searched there has the value of that study's configuration. What this space does not allow
    keeps its name and bounds, which the sampler ignores.
    """
    space = here.search.space
    names = all_names(space)
    found = _within(_own_values(there, space) | by_path(trial.params), here)
    params = by_name(found, space)
    if here.search.sampler in SAME_NAMES:
        for name, entry in names.items():
            _, on, case = parts_of(name)
            if on in found and case != case_of(found[on]):  # it has no effect in this trial
                params[name] = bounds(entry)[0]
    distributions = {name: distribution_of(names[name]) for name in params}
    for name, value in trial.params.items():
        path, on, _ = parts_of(name)
        if not on and path not in params and not isinstance(space.get(path), Conditional):
            params[name] = value
            distributions[name] = trial.distributions[name]
    copied = copy.copy(trial)
    copied.params = params
    copied.distributions = distributions
    return copied


def add_earlier_trials(study: optuna.Study, config: SearchConfig, earlier: tuple[FrozenTrial, ...]) -> None:
    """Add `earlier` trials to the study for its sampler, outside the budget and without bundles, unless it has them."""
    known = set()
    for trial in study.get_trials(deepcopy=False):
        known |= {trial.user_attrs.get(OUTSIDE_BUDGET), trial.user_attrs.get(COPY_OF)}
    for trial in earlier:
        origin = f"warm start: trial {trial.number} of {config.search.warm_start}"
        identity = lease_of(trial).trial or origin  # the folder of the earlier study may have been moved since
        if known.isdisjoint((origin, identity)):
            study.add_trial(_copy(trial, config, {OUTSIDE_BUDGET: origin, COPY_OF: identity}))


def _copy(trial: FrozenTrial, config: SearchConfig, attributes: dict[str, str]) -> FrozenTrial:
    space = config.search.space
    params = trial.params
    constraints = None
    if {GLOBAL, LOCAL} <= params.keys() & space.keys():
        constraints = {CONSTRAINT: params[GLOBAL] - params[LOCAL]}
    return create_trial(
        state=trial.state,
        values=trial.values,
        params=params,
        distributions=trial.distributions,
        user_attrs=attributes,
        constraints=constraints,
    )
