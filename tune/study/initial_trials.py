"""The trials that a search starts from: chosen ones that run first, and the finished ones of an earlier study."""

from collections.abc import Iterator

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from hcvae.errors import UserError
from hcvae.storage import StoragePath
from tune.config import SearchConfig
from tune.objectives import directions_of, names_of
from tune.space.chosen import check_chosen, holds
from tune.space.search_space import GLOBAL, LOCAL, ParameterValue, value_of
from tune.study.folder import StudyFolder
from tune.study.leases import OUTSIDE_BUDGET, lease_of, outside_budget, study_id
from tune.study.opening import finished_trials
from tune.study.repetition import repetition_of
from tune.study.samplers import CONSTRAINT, check_choices, distribution_of

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
        identity = study_id(study)
        for params in default_trials(config):
            trials = [trial for trial in study.get_trials(deepcopy=False) if repetition_of(trial, identity) is None]
            if sum(outside_budget(trial, identity) is None for trial in trials) < config.search.trials:
                study.enqueue_trial(dict(params), skip_if_exists=True)


def default_trials(config: SearchConfig) -> Iterator[dict[str, ParameterValue]]:
    """Yield the configuration's own values, then the KL weights of the specification and of its best practices.

    A value outside the space is left to the sampler.
    """
    space = config.search.space
    own = {path: value_of(config, path) for path in space}
    for weights in FIRST_KL_WEIGHTS:
        values = own | weights
        params = {path: value for path, value in values.items() if path in space and holds(space[path], value)}
        if not {GLOBAL, LOCAL} & space.keys() <= params.keys():  # one alone may not suit the other
            params.pop(GLOBAL, None)
            params.pop(LOCAL, None)
        if params:
            yield params


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
    record, study = folder.read_record(), folder.load()
    objectives = config.search.compared_by
    compared = {
        "objectives": (tuple(study.metric_names or ()), names_of(objectives)),
        "their directions": ([way.name.lower() for way in study.directions], directions_of(objectives)),
        "constraints": (record.config.search.constraints, config.search.constraints),
        "data (fingerprint)": (record.data_fingerprint[:12], data_fingerprint[:12]),
        "training.epochs": (record.config.training.epochs, config.training.epochs),
    }
    differences = [f"{name}: {there} there, {here} here" for name, (there, here) in compared.items() if there != here]
    if differences:
        raise UserError(
            f"search.warm_start: the trials of {folder} cannot be compared with those of this study "
            f"({'; '.join(differences)}); name a study of the same data and epochs, or null"
        )
    finished = [trial for trial in finished_trials(study) if trial.state != TrialState.FAIL]
    for trial in finished:
        check_choices(trial, config, f"search.warm_start: {folder}", "warm_start null")
    return tuple(finished)


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
    params = dict(trial.params)
    distributions = dict(trial.distributions)
    for path, value in params.items():
        # Samplers that need fixed bounds look for the bounds of this study's own trials.
        if path in space and holds(space[path], value):
            distributions[path] = distribution_of(space[path])
    constraints = None
    if {GLOBAL, LOCAL} <= params.keys() & space.keys():
        constraints = {CONSTRAINT: params[GLOBAL] - params[LOCAL]}
    return create_trial(
        state=trial.state,
        values=trial.values,
        params=params,
        distributions=distributions,
        user_attrs=attributes,
        constraints=constraints,
    )
