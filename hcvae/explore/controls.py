"""Sliders and choices of the conditions, within what the model was trained on."""

import math
from dataclasses import dataclass

from hcvae.data.preprocessing import Preprocessing, Value
from hcvae.errors import UserError

STEPS = 100
ROUNDING = 1e-6
UNITS = ("dB", "Hz", "ms", "uV", "years")


@dataclass(frozen=True)
class Control:
    """Of one static column: a slider where its numbers vary, otherwise a choice."""

    name: str
    """The column."""
    value: Value
    """Typical of the training rows."""
    choices: tuple[Value, ...] = ()
    """All values that there are; none for a slider."""
    minimum: float = 0.0
    maximum: float = 0.0
    has_nulls: bool = False
    """Sliders: whether null can be asked for, too."""

    @property
    def step(self) -> float:
        """Of a slider: at least 1 / `STEPS` of its range, and 1, 2 or 5 times a power of ten."""
        least = (self.maximum - self.minimum) / STEPS
        power = 10.0 ** math.floor(math.log10(least))
        return next(float(f"{factor * power:g}") for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))

    @property
    def slider(self) -> tuple[float, float, float]:
        """Smallest value, largest value and start of a slider, whole steps within the range: dash mangles others.

        The start is the typical value, or the smallest one where that is null.
        """
        step = self.step
        first, last = math.ceil(self.minimum / step - ROUNDING), math.floor(self.maximum / step + ROUNDING)
        typical = first if self.value is None else round(float(self.value) / step)
        low, high, start = (float(f"{number * step:.10g}") for number in (first, last, min(max(typical, first), last)))
        return low, high, start

    @property
    def label(self) -> str:
        """The column's name in words: see `in_words`."""
        return in_words(self.name)

    def read(self, given: float | None, is_null: bool) -> Value:
        """The column's value from what the page holds: a slider's number, or the position of a choice.

        Raises:
            UserError: no number is given.
        """
        if self.choices:
            return self.choices[int(given or 0)]
        if is_null:
            return None
        if given is None:
            raise UserError(f"{self.label}: must be a number from {self.minimum:g} to {self.maximum:g}, but got none")
        return float(given)


def in_words(column: str) -> str:
    """A column's name in words, its unit in brackets: `stimulus_level_db` is `stimulus level (dB)`."""
    words = column.split("_")
    unit = next((unit for unit in UNITS if len(words) > 1 and unit.lower() == words[-1]), None)
    return " ".join(words) if unit is None else f"{' '.join(words[:-1])} ({unit})"


def controls_of(preprocessing: Preprocessing, group: str) -> list[Control]:
    """A control for each static column, with the range of the training rows of a normalisation group."""
    return [
        _control(column.name, preprocessing.typical[group][column.name], preprocessing, group)
        for column in preprocessing.static.columns
        if column.name != preprocessing.signal.group_by
    ]


def _control(name: str, typical: Value, preprocessing: Preprocessing, group: str) -> Control:
    seen = preprocessing.ranges(group)[name]
    null: tuple[Value, ...] = (None,) if seen.has_nulls else ()
    if seen.minimum is None or seen.maximum is None:
        return Control(name, typical, choices=(*seen.categories, *null))
    if seen.minimum == seen.maximum:
        return Control(name, typical, choices=(seen.minimum, *null))
    return Control(name, typical, (), seen.minimum, seen.maximum, seen.has_nulls)
