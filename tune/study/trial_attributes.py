"""What a study records of a trial, so that optuna-dashboard can show it.

The dashboard shows each user attribute on one line. Longer values are therefore kept whole in a system attribute, which
it does not show, for this program; people find them as files among the trial's artifacts (`tune.study.artifacts`).
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
    """Whether a value is too long for a line of the dashboard's page."""
    return len(value if isinstance(value, str) else json.dumps(value)) > MAX_SHOWN


def attributes_of(trial: FrozenTrial) -> dict[str, Any]:
    """All that is recorded of a trial, by name, also by earlier versions, which had user attributes alone."""
    record: dict[str, Any] = trial.system_attrs.get(RECORD, {})
    return trial.user_attrs | record


def record(study: optuna.Study, trial: Trial, attributes: Mapping[str, Any]) -> None:
    """Record `attributes` of a running trial, in place of what was recorded by those names; None removes."""
    frozen = recorded(study, trial)
    long = {name: value for name, value in attributes.items() if value is not None and is_long(value)}
    before = frozen.system_attrs.get(RECORD, {})
    content = {name: value for name, value in before.items() if name not in attributes} | long
    if content != before:
        set_trial_system_attribute(study, trial, RECORD, content)
    for name, value in attributes.items():
        shown = value if name not in long else _beginning(value)
        if shown is not None or frozen.user_attrs.get(name) is not None:
            trial.set_user_attr(name, shown)


def _beginning(value: Any) -> str | None:
    """Of a text; the rest is among the artifacts."""
    return shortened(value, MAX_SHOWN - 3) if isinstance(value, str) else None
