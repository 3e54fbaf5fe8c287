"""Repetitions: trials that train the configuration of another trial again, to confirm it.

A repetition shares nothing with the trial that it confirms but the configuration: it has another seed, another number,
folders of its own, and starts from no weights of that trial.
"""

from collections.abc import Mapping
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from hcvae.config import Config, Section
from hcvae.errors import UserError
from tune.config import AnyConfig, Confirmation, SearchConfig
from tune.space.entries import ParameterValue
from tune.space.search_space import apply

REPETITION = "repetition"
"""System attribute of a repetition: its record."""
CONFIRMS = "confirms"
"""User attribute of a repetition, for people: which trial it confirms, and how."""
EPOCHS = "training.epochs"
WIDTH = "model.width"


class Repetition(Section):
    """Which trial a repetition confirms, and in what their trainings differ."""

    study: str | None
    """Identifier of the study that enqueued it: a copy in another study is no repetition there."""
    number: int
    """Number of the trial that it confirms."""
    trial: str | None
    """Unique identifier of that trial; null: an earlier version trained it, and its number identifies it."""
    index: int
    """Its place among the repetitions of the trial, from 1."""
    round: int
    """Its round of confirmation, from 1."""
    size: int
    """Repetitions in its round: the round counts once all of them have ended."""
    by: Literal["seeds", "folds"]
    folds: int | None = None
    """Number of folds, of which it validates on number `index`; null: on the validation part of the search."""
    epochs: int | None = None
    """Its epochs; null: those of the search."""
    width: float | None = None
    """Its `model.width`; null: that of the search."""

    def __str__(self) -> str:
        how = f"seed +{self.index}"
        if self.folds is not None:
            how = f"fold {self.index} of {self.folds}"
        return f"repetition of trial {self.number}: {how}"

    @property
    def confirms(self) -> str | int:
        """The unique identifier of the trial that it confirms, or the number of one of an earlier version."""
        return self.trial or self.number

    @property
    def is_comparable(self) -> bool:
        """Whether its values may be compared with those of the trial that it confirms."""
        return self.epochs is None and self.width is None

    def applied(self, config: Config) -> Config:
        """Return the training of this repetition, where `config` is that of the trial that it confirms."""
        scaled = with_scale(config, self.epochs, self.width)
        training = scaled.training.model_copy(update={"seed": config.training.seed + self.index})
        applied = scaled.model_copy(update={"training": training})
        if self.folds is None:
            return applied
        return with_fold(applied, self.index, self.folds)

    def waiting(self, params: dict[str, Any]) -> FrozenTrial:
        """Return this repetition as a trial to add to the study: enqueued, with the parameters of the confirmed one."""
        return create_trial(
            state=TrialState.WAITING,
            system_attrs={"fixed_params": params, REPETITION: self.model_dump()},
            user_attrs={CONFIRMS: str(self)},
        )


def repetition_of(trial: FrozenTrial, study: str | None) -> Repetition | None:
    """Return what `trial` repeats in the study with the identifier `study`; None where it is no repetition."""
    content = trial.system_attrs.get(REPETITION)
    if content is None:
        return None
    found = Repetition.model_validate(content)
    if found.study != study:
        return None
    return found


def is_repetition(trial: FrozenTrial) -> bool:
    """Return whether `trial` is a repetition, of this study or another."""
    return REPETITION in trial.system_attrs


def with_scale(config: AnyConfig, epochs: int | None, width: float | None) -> AnyConfig:
    """Return `config` with other epochs and another width, where they are given."""
    scaled: dict[str, Section] = {}
    if epochs is not None:
        scaled["training"] = config.training.model_copy(update={"epochs": epochs})
    if width is not None:
        scaled["model"] = config.model.model_copy(update={"width": width})
    return config.model_copy(update=scaled)


def with_fold(config: Config, fold: int, folds: int) -> Config:
    """Return `config` with another validation part: a fold of the units of the training and the validation part."""
    split = config.data.split.model_copy(update={"folds": folds, "fold": fold})
    return config.model_copy(update={"data": config.data.model_copy(update={"split": split})})


def training_of(config: Config, params: Mapping[str, ParameterValue], repetition: Repetition | None) -> Config:
    """Return the training of a trial with the parameters `params`, where `config` is that of the search.

    Raises:
        pydantic.ValidationError: a value is not valid, alone or with the others.
    """
    trained = apply(config, params)
    if repetition is None:
        return trained
    return repetition.applied(trained)


def check_confirmation(config: SearchConfig) -> None:
    """Check that confirmation leaves the differences between configurations as they are.

    Raises:
        UserError: it sets a field that is searched.
    """
    confirm = config.search.confirm
    if confirm is None:
        return
    for name, path, value in (("epochs", EPOCHS, confirm.epochs), ("width", WIDTH, confirm.width)):
        if value is not None and path in config.search.space:
            raise UserError(
                f"search.confirm.{name}: {path} is searched, so {value:g} would train another configuration than the "
                "one to confirm; use null, or take the path out of search.space"
            )


def check_continued(study: optuna.Study, identity: str | None, confirm: Confirmation | None) -> None:
    """Check that further repetitions can be compared with those that the study has, and that those which have begun can
    be finished.

    Raises:
        UserError: they would be trained otherwise, or need the folds of `search.confirm`.
    """
    for trial in study.get_trials(deepcopy=False):
        found = repetition_of(trial, identity)
        if found is None:
            continue
        if confirm is None and found.folds is not None and not trial.state.is_finished():
            raise UserError(
                f"search.confirm: null, but the study waits for {found}, whose data depend on it; set it to "
                f"({_shown(found.model_dump())}) again until they have ended"
            )
        if confirm is None:
            continue
        now = _how(confirm)
        before = found.model_dump(include=set(now))
        if before != now:
            raise UserError(
                f"search.confirm: the repetitions of this study have ({_shown(before)}), and values of others with "
                f"({_shown(now)}) cannot be compared with theirs; use those again, or choose another search.study"
            )


def planned(confirm: Confirmation, study: str | None, **which: Any) -> Repetition:
    """Return a repetition as `confirm` has it trained; `which` names the trial and its place."""
    return Repetition(study=study, **which, **_how(confirm))


def _how(confirm: Confirmation) -> dict[str, Any]:
    folds = None
    if confirm.by == "folds":
        folds = confirm.repeats
    return {"by": confirm.by, "folds": folds, "epochs": confirm.epochs, "width": confirm.width}


def _shown(how: dict[str, Any]) -> str:
    settings = {"by": how["by"], "epochs": how["epochs"], "width": how["width"]}
    shown = []
    for name, value in settings.items():
        if value is None:
            value = "null"
        shown.append(f"{name}={value}")
    if how["folds"] is not None:
        shown.append(f"repeats={how['folds']}")
    return ", ".join(shown)
