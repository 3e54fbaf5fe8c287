"""Samplers by name, and the parameters that they suggest for a trial.

Gaussian processes and NSGA-II need the same bounds in every trial, so they cannot raise the lower bound of
`model.local_latent_dim` to the global dimension as the other samplers do. They sample the whole range, with
local >= global as a constraint; a suggestion that violates it is recorded PRUNED, untrained and outside the budget.

In a finite space no combination is suggested twice: the closest untried one replaces one that has been tried.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import ValidationError

from hcvae.config import Config
from hcvae.errors import UserError
from hcvae.validation import explain
from tune.config import Choice, FloatRange, Parameter, SearchConfig
from tune.internals.optuna_internals import (
    enqueue_values,
    enqueued_values,
    hidden_from_sampler,
    parameters_unwritten,
    recorded,
    set_trial_system_attribute,
)
from tune.space.chosen import check_chosen
from tune.space.combinations import closest, combination, combinations
from tune.space.search_space import GLOBAL, LOCAL, ParameterValue, apply, suggest
from tune.study.leases import LEASE, OUTSIDE_BUDGET, Lease, lease_of, outside_budget, study_id
from tune.study.repetition import is_repetition
from tune.study.trial_record import TrialRecord

GP_PARAMETERS = 8
"""`auto` uses the GP for at most this many parameters, all of them numbers."""
GP_TRIALS = 100
"""`auto` uses the GP until this many trials are complete: see docs/search.md for the cost of a suggestion."""
MAX_INFEASIBLE = 5
"""Infeasible suggestions in a row; the last is then repaired, as the GP learns nothing from a trial without values."""
CONSTRAINT = "global_latent_dim - local_latent_dim"


def make_sampler(config: SearchConfig, starts: int) -> BaseSampler:
    """Return the sampler that `search.sampler` names, for a study that was searched `starts` times before.

    Its seed depends on both: neither a continued study nor a second process repeats the first trials.
    """
    seed = (config.search.seed + 7919 * starts) % 2**32
    with warnings.catch_warnings():
        # Grouped TPE, the GP and its constraints have been experimental, and unchanged, for years.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return MAKERS[config.search.sampler](seed, config)


def ask(study: optuna.Study, config: SearchConfig) -> tuple[Trial, dict[str, ParameterValue]]:
    """Return a new trial with feasible parameters.

    The sampler does not see repetitions: each configuration counts once, with the value of its own training.
    """
    for _ in range(MAX_INFEASIBLE):
        with hidden_from_sampler(study, is_repetition):
            trial = study.ask()
            params = suggest_parameters(study, trial, config)
        if params is not None:
            return trial, params
    if {GLOBAL, LOCAL} <= trial.params.keys():
        study.enqueue_trial(trial.params | {LOCAL: trial.params[GLOBAL]})
    return ask(study, config)


def suggest_parameters(
    study: optuna.Study, trial: Trial, config: SearchConfig, *, adopted: bool = False
) -> dict[str, ParameterValue] | None:
    """Return the parameters of `trial`, new or (`adopted`) interrupted.

    None where they are infeasible, or a person has enqueued invalid values: the trial has then ended in the study, with
    the reason.

    Raises:
        UserError: a trial of another program prevents Optuna from recording a parameter.
    """
    try:
        _check_enqueued(recorded(study, trial), config, adopted=adopted)
    except UserError as error:
        _refuse(study, trial, str(error))
        return None
    params = _suggested(study, trial, config)
    latents = {LOCAL: config.model.local_latent_dim, GLOBAL: config.model.global_latent_dim} | params
    excess = int(latents[GLOBAL]) - int(latents[LOCAL])
    if has_fixed_bounds(study, config):
        trial.set_constraint(CONSTRAINT, excess)
    if excess > 0:
        reason = f"infeasible: {LOCAL} {latents[LOCAL]} is below {GLOBAL} {latents[GLOBAL]}"
        trial.set_user_attr(OUTSIDE_BUDGET, reason)
        study.tell(trial, state=TrialState.PRUNED)
        return None
    try:
        apply(config, params)
    except ValidationError as error:
        _refuse(study, trial, explain(error, Config))
        return None
    return params


def _check_enqueued(frozen: FrozenTrial, config: SearchConfig, *, adopted: bool) -> None:
    chosen = dict(frozen.system_attrs.get("fixed_params", {}))
    if not adopted:
        chosen |= frozen.params
    check_chosen(chosen, config, "enqueued parameters")


def _suggested(study: optuna.Study, trial: Trial, config: SearchConfig) -> dict[str, ParameterValue]:
    fixed_bounds = has_fixed_bounds(study, config)
    try:
        if not trial.params:
            _avoid_repetition(study, trial, config, fixed_bounds=fixed_bounds)
        return suggest(trial, config, fixed_bounds=fixed_bounds)
    except ValueError as error:
        raise UserError(
            f"search.space: another program has added a trial with another kind of a parameter ({error}); copy the "
            "other trials into a new study of the name with Study.add_trials, or choose another search.study"
        ) from None


def _refuse(study: optuna.Study, trial: Trial, reason: str) -> None:
    """Fail a trial with invalid parameters; it counts against the budget."""
    TrialRecord(failure=reason).write(study, trial)
    lease = Lease(study=study_id(study))
    set_trial_system_attribute(study, trial, LEASE, lease.model_dump())
    study.tell(trial, state=TrialState.FAIL)


def is_exhausted(study: optuna.Study, config: SearchConfig) -> bool:
    """Return whether all combinations of a finite space are tried, or being tried, and no enqueued trial waits."""
    every = combinations(config)
    if not every:
        return False
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    return not waiting and _tried(study, config).issuperset(every)


def has_fixed_bounds(study: optuna.Study, config: SearchConfig) -> bool:
    """Return whether the next trial is sampled within the same bounds as every other one, feasible or not."""
    sampler = study.sampler
    if isinstance(sampler, Auto):
        sampler = sampler.of(study)
    return isinstance(sampler, GPSampler | NSGAIISampler) and {GLOBAL, LOCAL} <= config.search.space.keys()


def distribution_of(parameter: Parameter) -> BaseDistribution:
    """Return Optuna's distribution of a parameter of the space."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.choices)
    kind: Any = FloatDistribution if isinstance(parameter, FloatRange) else IntDistribution
    made: BaseDistribution = kind(parameter.low, parameter.high, log=parameter.log)
    return made


def check_choices(trial: FrozenTrial, config: SearchConfig, where: str, otherwise: str) -> None:
    """Check that one sampler can learn from `trial` and sample the space of `config`.

    Raises:
        UserError: `where` has other choices, or another kind of parameter; `otherwise` is the advice to give.
    """
    for path, there in trial.distributions.items():
        if path in config.search.space:
            here = distribution_of(config.search.space[path])
            try:
                optuna.distributions.check_distribution_compatibility(there, here)
            except ValueError:
                raise UserError(
                    f"{where}: {path} has another distribution there ({there}) than here ({here}); use the same "
                    f"choices, or {otherwise}"
                ) from None


def _tried(study: optuna.Study, config: SearchConfig) -> set[tuple[ParameterValue | None, ...]]:
    """Return the combinations of the trials that this study has handed out."""
    identity = study_id(study)
    tried = set()
    for trial in study.get_trials(deepcopy=False):
        if lease_of(trial).attempt > 0 and outside_budget(trial, identity) is None:
            tried.add(combination(config, trial.params))
    return tried


def _avoid_repetition(study: optuna.Study, trial: Trial, config: SearchConfig, *, fixed_bounds: bool) -> None:
    """Choose the values of a new trial in a finite space; enqueued values stay, even if they repeat a trial."""
    space = config.search.space
    enqueued = {path: value for path, value in enqueued_values(trial).items() if path in space}
    every = combinations(config)
    if enqueued.keys() == space.keys() or not every:
        return
    with parameters_unwritten(study, trial):
        chosen = combination(config, suggest(trial, config, fixed_bounds=fixed_bounds))
    tried = _tried(study, config)
    untried = []
    for values in every:
        has_enqueued = enqueued.items() <= dict(zip(space, values, strict=True)).items()
        if has_enqueued and values not in tried:
            untried.append(values)
    if untried:
        chosen = closest(untried, chosen, f"{config.search.seed} {trial.number}")
    enqueue_values(trial, dict(zip(space, chosen, strict=True)))


class Auto(BaseSampler):
    """The GP until `GP_TRIALS` trials are complete, TPE from then on."""

    def __init__(self, gp: GPSampler, tpe: TPESampler) -> None:
        self._gp = gp
        self._tpe = tpe

    def of(self, study: optuna.Study) -> BaseSampler:
        """Return the sampler of the next trial."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return self._gp if len(complete) < GP_TRIALS else self._tpe

    def reseed_rng(self) -> None:
        """Pass on, see `BaseSampler`."""
        self._gp.reseed_rng()
        self._tpe.reseed_rng()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Pass on, see `BaseSampler`."""
        return self.of(study).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Pass on, see `BaseSampler`."""
        return self.of(study).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Pass on, see `BaseSampler`."""
        return self.of(study).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Pass on, see `BaseSampler`."""
        self.of(study).before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Pass on, see `BaseSampler`."""
        self.of(study).after_trial(study, trial, state, values)


def _tpe(seed: int, config: SearchConfig) -> TPESampler:
    return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _gp(seed: int, config: SearchConfig) -> GPSampler:
    return GPSampler(seed=seed, warn_independent_sampling=False)


def _auto(seed: int, config: SearchConfig) -> BaseSampler:
    space = config.search.space
    numeric = not any(isinstance(parameter, Choice) for parameter in space.values())
    # The GP learns nothing from pruned trials, and early stopping prunes most of them.
    if numeric and len(space) <= GP_PARAMETERS and config.search.early_stopping is None:
        return Auto(_gp(seed, config), _tpe(seed, config))
    return _tpe(seed, config)


MAKERS: dict[str, Callable[[int, SearchConfig], BaseSampler]] = {
    "tpe": _tpe,
    "gp": _gp,
    "nsga2": lambda seed, config: NSGAIISampler(seed=seed),
    "random": lambda seed, config: RandomSampler(seed=seed),
    "auto": _auto,
}
