"""Samplers by name, and the parameters that they suggest for a trial.

Gaussian processes and NSGA-II need the same bounds in every trial, so they cannot raise the lower bound of
`model.local_latent_dim` to the global dimension as the other samplers do. They sample the whole range, with
local >= global as a constraint; a suggestion that violates it is recorded PRUNED, untrained and outside the budget.
They also need the same names in every trial, so they sample all cases of a conditional parameter, of which only the one
in effect counts.

With every sampler a suggested local dimension is raised to a multiple of the time segments before it is recorded. In a
finite space no combination is suggested twice: the closest untried one replaces one that has been tried.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import ValidationError

from hcvae.config import Config
from hcvae.errors import UserError
from hcvae.validation import explain
from tune.config import Choice, Conditional, FloatRange, SearchConfig, Unconditional
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
from tune.space.conditional import all_names, by_name, by_path
from tune.space.entries import ParameterValue
from tune.space.latents import GLOBAL, LOCAL, SEGMENTS, own_latents
from tune.space.search_space import Values, apply, suggest, whole_segments
from tune.study.leases import LEASE, OUTSIDE_BUDGET, Lease, lease_of, outside_budget, study_id
from tune.study.repetition import is_repetition
from tune.study.trial_record import TrialRecord

GP_PARAMETERS = 8
"""`auto` uses the GP for at most this many parameters, all of them numbers."""
GP_TRIALS = 100
"""`auto` uses the GP until this many trials are complete: see docs/search.md for the cost of a suggestion."""
MAX_INFEASIBLE = 5
"""Infeasible suggestions in a row; the last is then repaired, as the GP learns nothing from a trial without values."""
SAME_NAMES = ("gp", "nsga2")
"""Samplers that sample a parameter by itself, without regard to the others, if an earlier trial lacks its name."""
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


def ask(study: optuna.Study, config: SearchConfig) -> tuple[Trial, Values]:
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
        params = by_path(trial.params)
        study.enqueue_trial(whole_segments(config, params | {LOCAL: params[GLOBAL]}))
    return ask(study, config)


def suggest_parameters(
    study: optuna.Study, trial: Trial, config: SearchConfig, *, adopted: bool = False
) -> Values | None:
    """Return the parameters of `trial`, new or (`adopted`) interrupted, by path.

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
    latents = own_latents(config) | params
    excess = int(latents[GLOBAL]) - int(latents[LOCAL])
    if has_fixed_bounds(study) and {GLOBAL, LOCAL} <= params.keys():
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
        _check_names(frozen, config)
        chosen |= frozen.params
    check_chosen(chosen, config, "enqueued parameters")


def _check_names(frozen: FrozenTrial, config: SearchConfig) -> None:
    """Check that parameters that a waiting trial has already are not those of a case under the name of the path."""
    for path in frozen.params:
        if isinstance(config.search.space.get(path), Conditional):
            raise UserError(
                f"enqueued parameters.{path}: a trial cannot be added with it, as Optuna has a name for each of its "
                "cases; use Study.enqueue_trial, which takes the path"
            )


def _suggested(study: optuna.Study, trial: Trial, config: SearchConfig) -> Values:
    fixed_bounds = has_fixed_bounds(study)
    try:
        enqueue_values(trial, by_name(by_path(enqueued_values(trial)), config.search.space))
        if not trial.params:
            _choose(study, trial, config, fixed_bounds=fixed_bounds)
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


def has_fixed_bounds(study: optuna.Study) -> bool:
    """Return whether the next trial is sampled by the same names within the same bounds as every other one."""
    sampler = study.sampler
    if isinstance(sampler, Auto):
        sampler = sampler.of(study)
    return isinstance(sampler, GPSampler | NSGAIISampler)


def distribution_of(entry: Unconditional) -> BaseDistribution:
    """Return Optuna's distribution of an entry of the space."""
    if isinstance(entry, Choice):
        return CategoricalDistribution(entry.choices)
    if isinstance(entry, FloatRange):
        return FloatDistribution(entry.low, entry.high, log=entry.log)
    return IntDistribution(entry.low, entry.high, log=entry.log)


def check_choices(trial: FrozenTrial, config: SearchConfig, where: str, otherwise: str) -> None:
    """Check that one sampler can learn from `trial` and sample the space of `config`.

    Raises:
        UserError: `where` has other choices, or another kind of parameter; `otherwise` is the advice to give.
    """
    names = all_names(config.search.space)
    for name, there in trial.distributions.items():
        if name in names:
            here = distribution_of(names[name])
            try:
                optuna.distributions.check_distribution_compatibility(there, here)
            except ValueError:
                raise UserError(
                    f"{where}: {name} has another distribution there ({there}) than here ({here}); use the same "
                    f"choices, or {otherwise}"
                ) from None


def _tried(study: optuna.Study, config: SearchConfig) -> set[tuple[ParameterValue | None, ...]]:
    """Return the combinations of the trials that this study has handed out."""
    identity = study_id(study)
    tried = set()
    for trial in study.get_trials(deepcopy=False):
        if lease_of(trial).attempt > 0 and outside_budget(trial, identity) is None:
            tried.add(combination(config, by_path(trial.params)))
    return tried


def _choose(study: optuna.Study, trial: Trial, config: SearchConfig, *, fixed_bounds: bool) -> None:
    """Choose the values of a new trial where the sampler's own are not all right: in a finite space, which has an end,
    and with time segments, which share the local dimension."""
    every = combinations(config)
    if not every and SEGMENTS not in config.search.space and config.model.local_segments == 1:
        return
    enqueued = by_path(enqueued_values(trial))
    with parameters_unwritten(study, trial):
        chosen = whole_segments(config, suggest(trial, config, fixed_bounds=fixed_bounds))
    if every and chosen.keys() != enqueued.keys():
        chosen = _not_repeated(study, trial, config, chosen, enqueued)
    enqueue_values(trial, by_name(chosen, config.search.space))


def _not_repeated(
    study: optuna.Study, trial: Trial, config: SearchConfig, chosen: Values, enqueued: Mapping[str, ParameterValue]
) -> Values:
    """Return the combination closest to `chosen` that was not tried; `enqueued` values stay, even if they repeat."""
    tried = _tried(study, config)
    untried = []
    for values in combinations(config):
        has_enqueued = enqueued.items() <= dict(zip(config.search.space, values, strict=True)).items()
        if has_enqueued and values not in tried:
            untried.append(values)
    found = combination(config, chosen)
    if untried:
        found = closest(untried, found, f"{config.search.seed} {trial.number}")
    pairs = zip(config.search.space, found, strict=True)
    return {path: value for path, value in pairs if value is not None}


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
    numeric = not any(isinstance(entry, Choice | Conditional) for entry in space.values())
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
