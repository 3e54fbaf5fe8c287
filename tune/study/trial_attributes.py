"""Attributes of a trial in the study, whole for this program, and short enough for the page of optuna-dashboard.

The dashboard shows each user attribute on one line. Longer values are therefore kept whole in a system attribute, which
it does not show; people find them as files among the trial's artifacts (`tune.study.artifacts`).
"""

import json
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial

from hcvae.validation import shortened
from tune.internals.optuna_internals import recorded, set_trial_system_attribute

RECORD = "record"
"""System attribute of a trial: values that are too long for user attributes, by name."""
MAX_SHOWN = 80
"""Characters of a user attribute."""


def is_long(value: Any) -> bool:
    """Return whether a value is too long for a line of the dashboard's page."""
    if not isinstance(value, str):
        value = json.dumps(value)
    return len(value) > MAX_SHOWN


def attributes_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return all attributes of a trial by name, whole; earlier versions wrote user attributes alone."""
    record: dict[str, Any] = trial.system_attrs.get(RECORD, {})
    return trial.user_attrs | record


def set_attributes(study: optuna.Study, trial: Trial, attributes: Mapping[str, Any]) -> None:
    """Set `attributes` of a running trial by name; None removes an attribute."""
    frozen = recorded(study, trial)
    long = {name: value for name, value in attributes.items() if is_long(value)}
    before = frozen.system_attrs.get(RECORD, {})
    content = before | long
    for name in attributes.keys() - long.keys():
        content.pop(name, None)
    if content != before:
        set_trial_system_attribute(study, trial, RECORD, content)
    for name, value in attributes.items():
        shown = value
        if name in long:
            shown = _beginning(value)
        if shown is not None or frozen.user_attrs.get(name) is not None:
            trial.set_user_attr(name, shown)


def _beginning(value: Any) -> str | None:
    """Return the beginning of a long text, None for other values; they are whole among the artifacts."""
    if not isinstance(value, str):
        return None
    return shortened(value, MAX_SHOWN - 3)
