"""Parameters whose entry depends on another one's value, and their names in Optuna.

Optuna allows a name only one kind of distribution, and samplers compare the values of a name in all trials. So each
case of a conditional parameter has a name of its own in Optuna, such as `training.loss_weights.global_kl if
training.learned_scales=none`. Everywhere else a parameter has one name, the path of its field, and one value: that of
the case in effect.
"""

import json
from collections.abc import Mapping
from typing import Any

from tune.config import Conditional, Parameter, Unconditional

IF = " if "
Space = Mapping[str, Parameter]


def case_of(value: object) -> str:
    """Return the key in `cases` of a value: text itself, otherwise its JSON, such as `true` and `4`."""
    if isinstance(value, str):
        return value
    return json.dumps(value)


def name_of(path: str, on: str, case: str) -> str:
    """Return Optuna's name of a case."""
    return f"{path}{IF}{on}={case}"


def parts_of(name: str) -> tuple[str, str, str]:
    """Return the path, the path that it depends on, and the case of a name of Optuna's; of a plain path, both empty."""
    path, _, condition = name.partition(IF)
    on, _, case = condition.partition("=")
    return path, on, case


def names_in_effect(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the names in `params`, of Optuna or paths, that are in effect, by path."""
    names = {}
    for name in params:
        path, on, case = parts_of(name)
        if not on or (on in params and case_of(params[on]) == case):
            names[path] = name
    return names


def by_path(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are in effect, by path, of parameters by Optuna's names or by path."""
    return {path: params[name] for path, name in names_in_effect(params).items()}


def in_effect(entry: Parameter, values: Mapping[str, Any]) -> Unconditional | None:
    """Return the entry in effect, given the `values` of the parameters without a condition; None where its case is
    missing, so that the field keeps the configuration's value."""
    if isinstance(entry, Conditional):
        return entry.cases.get(case_of(values[entry.on]))
    return entry


def unconditional(space: Space) -> dict[str, Unconditional]:
    """Return the entries of the parameters without a condition, by path."""
    return {path: entry for path, entry in space.items() if not isinstance(entry, Conditional)}


def entries_of(parameter: Parameter) -> list[Unconditional]:
    """Return the entry of a parameter, or those of all its cases."""
    if isinstance(parameter, Conditional):
        return list(parameter.cases.values())
    return [parameter]


def all_names(space: Space) -> dict[str, Unconditional]:
    """Return the entries of the space by their names in Optuna; a conditional parameter has one for each case."""
    names: dict[str, Unconditional] = {}
    for path, entry in space.items():
        if isinstance(entry, Conditional):
            for case, inner in entry.cases.items():
                names[name_of(path, entry.on, case)] = inner
        else:
            names[path] = entry
    return names


def by_name(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Return parameters by Optuna's names; `params` holds what a conditional one depends on, if it holds that one."""
    named = {}
    for path, value in params.items():
        entry = space.get(path)
        if isinstance(entry, Conditional):
            named[name_of(path, entry.on, case_of(params[entry.on]))] = value
        else:
            named[path] = value
    return named


def paths_in_effect(space: Space, values: Mapping[str, Any]) -> list[str]:
    """Return the paths that a trial with these `values` has a value for."""
    paths = []
    for path, entry in space.items():
        if not isinstance(entry, Conditional) or (entry.on in values and in_effect(entry, values) is not None):
            paths.append(path)
    return paths
