"""What a search starts from: chosen trials that run first, and the finished trials of an earlier study."""

from collections.abc import Iterator

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from hcvae.errors import UserError
from hcvae.storage import StoragePath
from tune.config import SearchConfig
from tune.pareto import DIRECTIONS, OBJECTIVES
from tune.space.chosen import check_chosen, holds
from tune.space.search_space import GLOBAL, LOCAL, ParameterValue, value_of
from tune.study.folder import StudyFolder
from tune.study.leases import OUTSIDE_BUDGET, lease_of
from tune.study.opening import finished_trials
from tune.study.samplers import CONSTRAINT, check_choices, distribution_of

COPY_OF = "copy_of"
"""User attribute of a trial of an earlier study: its unique identifier there."""
KL_WEIGHTS = ("training.loss_weights.global_kl", "training.loss_weights.local_kl")
SPECIFICATION_KL = ((0.01, 0.01), (0.001, 0.01))
"""KL weights of the specification's configuration, and of its best practices."""


def check_first_trials(config: SearchConfig) -> None:
    """Check that each of `search.first_trials` lies in the space.

    Raises:
        UserError: a path that is not searched, a value outside its range, or latents that do not go together.
    """
    for index, params in enumerate(config.search.first_trials):
        check_chosen(params, config, f"search.first_trials[{index}]")


def enqueue_first_trials(study: optuna.Study, config: SearchConfig) -> None:
    """Let the chosen trials run first; those that the study has already are not run again."""
    chosen = [*config.search.first_trials, *(default_trials(config) if config.search.start_from_defaults else ())]
    for params in chosen:
        study.enqueue_trial(dict(params), skip_if_exists=True)


def default_trials(config: SearchConfig) -> Iterator[dict[str, ParameterValue]]:
    """The configuration's own values, then the KL weights of the specification and of its best practices.

    A value that the space does not hold is left to the sampler.
    """
    space = config.search.space
    own = {path: value_of(config, path) for path in space}
    for weights in (None, *SPECIFICATION_KL):
        values = own | (dict(zip(KL_WEIGHTS, weights, strict=True)) if weights else {})
        params = {path: value for path, value in values.items() if path in space and holds(space[path], value)}
        if not {GLOBAL, LOCAL} & space.keys() <= params.keys():
            params = {path: value for path, value in params.items() if path not in (GLOBAL, LOCAL)}
        if params:
            yield params


def earlier_trials(config: SearchConfig, data_fingerprint: str) -> tuple[FrozenTrial, ...]:
    """The finished trials of the study that `search.warm_start` names; none where it names none.

    Raises:
        UserError: there is no study, or its trials cannot be compared with those of this one.
    """
    if config.search.warm_start is None:
        return ()
    folder = StudyFolder(config.search.warm_start)
    if folder.place.is_same(StoragePath.of(config.search.storage) / config.search.study):
        raise UserError(f"search.warm_start: {folder} is this study itself; name an earlier one, or null")
    record, study = folder.read_record(), folder.load()
    wanted = {
        "objectives": (tuple(study.metric_names or ()), tuple(OBJECTIVES)),
        "their directions": (tuple(way.name.lower() for way in study.directions), DIRECTIONS),
        "data (fingerprint)": (record.data_fingerprint[:12], data_fingerprint[:12]),
        "training.epochs": (record.config.training.epochs, config.training.epochs),
    }
    differences = [f"{name}: {there} there, {here} here" for name, (there, here) in wanted.items() if there != here]
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
    """Tell the sampler of `earlier`, outside the budget and without bundles; those told before are left out."""
    trials = study.get_trials(deepcopy=False)
    known = {trial.user_attrs.get(name) for trial in trials for name in (OUTSIDE_BUDGET, COPY_OF)}
    for trial in earlier:
        whence = f"warm start: trial {trial.number} of {config.search.warm_start}"
        identity = lease_of(trial).trial or whence  # the folder of the earlier study may have been moved since
        if known.isdisjoint((whence, identity)):
            study.add_trial(_copy(trial, config, {OUTSIDE_BUDGET: whence, COPY_OF: identity}))


def _copy(trial: FrozenTrial, config: SearchConfig, attributes: dict[str, str]) -> FrozenTrial:
    own = {path: distribution_of(parameter) for path, parameter in config.search.space.items()}
    params = dict(trial.params)
    # Samplers that need fixed bounds look for the bounds of this study's own trials.
    held = {path: own[path] for path in params if path in own and holds(config.search.space[path], params[path])}
    both = {GLOBAL, LOCAL} <= params.keys() & own.keys()
    return create_trial(
        state=trial.state,
        values=trial.values,
        params=params,
        distributions=trial.distributions | held,
        user_attrs=attributes,
        constraints={CONSTRAINT: params[GLOBAL] - params[LOCAL]} if both else None,
    )
