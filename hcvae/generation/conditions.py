"""Conditions of generated waveforms: complete, of the types of the model's columns, within its training range."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation

import pyarrow as pa

from hcvae.bundle import Bundle
from hcvae.data.preprocessing import ConditionValue, Preprocessing
from hcvae.data.static import StaticColumn
from hcvae.errors import UserError
from hcvae.suggest import did_you_mean

MAX_VALUES = 10_000
"""Most values of a range."""


def complete_condition(
    bundle: Bundle, given: Mapping[str, ConditionValue], *, extrapolate: bool = False
) -> dict[str, ConditionValue]:
    """Return `given`, completed by the values that most often occurred with it in the training data.

    The other columns get the values of the most frequent combination among the training rows, in the same
    normalisation group, that agree with `given`; if no row has the given numbers, among those with the nearest ones.

    Args:
        bundle: The model.
        given: Values by static column.
        extrapolate: Whether values may lie outside the range of the training rows of that group, and may be combined as
            in no training row. The result is a guess.

    Raises:
        UserError: an unknown column or category, a null where training had none, a value outside the training range,
            or values with which no training row agrees, so that nothing can complete them; the message names them.
    """
    preprocessing = bundle.preprocessing
    columns = bundle.preprocessing.static.by_name
    for name in given:
        if name not in columns:
            raise UserError(f"condition {name}: the model has no such column{did_you_mean(name, list(columns))}")
    group = _group(bundle, given)
    ranges = preprocessing.ranges(group)
    for name, value in given.items():
        columns[name].encode(pa.chunked_array([pa.array([value])]))  # refuses what the model cannot encode
        if not extrapolate and not ranges[name].holds(value):
            where = ""
            if group and group in preprocessing.seen:
                where = f" for {preprocessing.signal.group_by}={group}"
            raise UserError(
                f"condition {name}: the model was trained on {ranges[name]}{where}, but got {text_of(value)}; "
                "stay within, or allow a guess with --extrapolate (extrapolate=True in Python)"
            )
    return {**_occurred_with(preprocessing, group, given, extrapolate), **given}


def _occurred_with(
    preprocessing: Preprocessing, group: str, given: Mapping[str, ConditionValue], extrapolate: bool
) -> Mapping[str, ConditionValue]:
    """Return the most frequent combination of values in training that agrees with `given`."""
    agreeing = []
    for combination in preprocessing.combinations.get(group, ()):
        if _agrees(combination.values, given):
            agreeing.append(combination.values)
    if agreeing:  # of equally near ones the first, which is the most frequent
        return min(agreeing, key=lambda values: _distance(preprocessing, values, given))
    missing = [column.name for column in preprocessing.static.columns if column.name not in given]
    if preprocessing.combinations and missing and not extrapolate:
        together = ", ".join(f"{name}={text_of(value)}" for name, value in given.items())
        raise UserError(
            f"condition {together}: these values never occurred together in training, so that no value of "
            f"{', '.join(missing)} goes with them; give that as well, or allow a guess with --extrapolate "
            "(extrapolate=True in Python)"
        )
    return preprocessing.typical[group]


def _distance(
    preprocessing: Preprocessing, values: Mapping[str, ConditionValue], given: Mapping[str, ConditionValue]
) -> float:
    """Return the distance of a combination from the given numbers, in standard deviations."""
    total = 0.0
    for column in preprocessing.static.columns:
        value = given.get(column.name)
        other = values[column.name]
        is_counted = column.std > 0 and column.name not in preprocessing.uncounted
        if is_counted and isinstance(value, int | float) and isinstance(other, int | float):
            total += abs(other - value) / column.std
    return total


def _agrees(values: Mapping[str, ConditionValue], given: Mapping[str, ConditionValue]) -> bool:
    """Whether a combination has the given categories, and nulls where they are given."""
    for name, value in given.items():
        if (value is None) != (values[name] is None):
            return False
        if isinstance(value, str) and value != values[name]:
            return False
    return True


def condition_lines(
    bundle: Bundle,
    complete: Mapping[str, Sequence[ConditionValue]],
    given: Collection[str],
    recorded: Collection[str] = (),
) -> list[str]:
    """Return a line for each static column: its values, and where those that were not given are from.

    Args:
        bundle: The model.
        complete: The values of each static column in the conditions.
        given: Columns whose values were given.
        recorded: Columns whose values are those of a recording, unless given.
    """
    source = "the most frequent in training with the values given"
    if not bundle.preprocessing.combinations:
        source = "typical of the training data"
    lines: list[str] = []
    for column in bundle.preprocessing.static.columns:
        name = column.name
        values = list(dict.fromkeys(complete[name]))
        line = f"{name} = {', '.join(map(text_of, values))}"
        if name in recorded and name not in given:
            line += " (of the recording)"
        elif name not in given:
            line += f" (filled in: {source}"
            if len(values) > 1:
                line += f"; to keep one value in all conditions, add --condition {name}=VALUE"
            line += ")"
        lines.append(line)
    return lines


def parse_conditions(bundle: Bundle, texts: Sequence[str]) -> list[dict[str, ConditionValue]]:
    """Return all combinations of the values in a command line; one empty condition if there are none.

    Args:
        bundle: The model; its columns determine which values are numbers.
        texts: `COLUMN=VALUE`, `COLUMN=FIRST:LAST:STEP` with both ends (numbers only) or `null`; a text without
            `COLUMN=` is another value of the column before it, as command lines are split at commas.

    Raises:
        UserError: a text of another form, no number where the column has numbers, or a last value that no step reaches.
    """
    columns = bundle.preprocessing.static.by_name
    values: dict[str, list[ConditionValue]] = {}
    name = ""
    for text in texts:
        left, equals, value = text.rpartition("=")
        name = left or name
        if not name or not value or (equals and not left):
            raise UserError(
                f"--condition: must be COLUMN=VALUE, COLUMN=VALUE,VALUE or COLUMN=FIRST:LAST:STEP, but got {text!r}"
            )
        values.setdefault(name, []).extend(_parse(columns.get(name), name, value))
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


def condition_table(bundle: Bundle, conditions: Sequence[Mapping[str, ConditionValue]]) -> pa.Table:
    """Return complete conditions [N] as a table of the static columns."""
    arrays = {}
    for column in bundle.preprocessing.static.columns:
        kind = pa.string()
        if column.kind == "number":
            kind = pa.float64()
        values = [condition[column.name] for condition in conditions]
        arrays[column.name] = pa.array(values, kind)
    return pa.table(arrays)


def text_of(value: ConditionValue) -> str:
    """Return a value as written in a command line."""
    if value is None:
        return "null"
    if isinstance(value, float | int):
        return f"{value:g}"
    return value


def _group(bundle: Bundle, given: Mapping[str, ConditionValue]) -> str:
    """Return the normalisation group of a condition."""
    preprocessing = bundle.preprocessing
    group_by = preprocessing.signal.group_by
    if group_by is None:
        return ""
    if group_by not in given:
        raise UserError(f"condition {group_by}: must be given, one of {list(preprocessing.signal.groups)}")
    group = str(given[group_by])
    if group not in preprocessing.typical:
        raise UserError(f"condition {group_by}: must be one of {list(preprocessing.typical)}, but got {group!r}")
    return group


def _parse(column: StaticColumn | None, name: str, text: str) -> Iterator[ConditionValue]:
    if text == "null":
        yield None
    elif column is None or column.kind == "category":
        yield text
    elif ":" in text:
        yield from _range(name, text)
    else:
        yield float(_decimal(name, text, text))


def _range(name: str, text: str) -> list[float]:
    """Return the values of `FIRST:LAST:STEP`, both ends included; decimal, so that 0:1:0.1 has 0.3 and its end."""
    parts = [_decimal(name, part, text) for part in text.split(":")]
    if len(parts) != 3 or not parts[2] or (parts[1] - parts[0]) * parts[2] < 0:
        raise UserError(
            f"condition {name}: a range must be FIRST:LAST:STEP with a step from the first to the last, "
            f"such as 20:80:10, but got {text!r}"
        )
    first, last, step = parts
    if abs(last - first) >= MAX_VALUES * abs(step):
        raise UserError(f"condition {name}: a range may have at most {MAX_VALUES:,} values, but got {text!r}")
    steps, rest = divmod(last - first, step)
    if rest:
        raise UserError(
            f"condition {name}: the last value must be a whole number of steps from the first, but got {text!r}; "
            f"{first}:{first + steps * step}:{step} would be right"
        )
    return [float(first + number * step) for number in range(int(steps) + 1)]


def _decimal(name: str, part: str, text: str) -> Decimal:
    try:
        number = Decimal(part)
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        raise UserError(f"condition {name}: must be a number, a range FIRST:LAST:STEP or null, but got {text!r}")
    return number
