"""The controls of the page: a number within its permitted range, or a choice."""

import math
import re
from dataclasses import dataclass

from hcvae.data.preprocessing import ConditionValue, Preprocessing
from hcvae.errors import UserError
from hcvae.validation import shortened

STEPS = 100
PARTS_OF_A_STEP = 10
"""Bounds and typical values are rounded to this part of a step."""
ROUNDING = 1e-3
UNITS = ("dB", "Hz", "ms", "uV", "years")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Control:
    """One static column or one direction of a latent: a number where its values vary, otherwise a choice."""

    name: str
    """The column, or the direction."""
    value: ConditionValue
    """Typical of the training rows."""
    choices: tuple[ConditionValue, ...] = ()
    """All values of a choice; empty for a number."""
    minimum: float = 0.0
    maximum: float = 0.0
    has_nulls: bool = False
    """Numbers: whether null is permitted, too."""

    @property
    def step(self) -> float:
        """Of a slider: at least 1 / `STEPS` of its range, and 1, 2 or 5 times a power of ten."""
        least = (self.maximum - self.minimum) / STEPS
        power = 10.0 ** math.floor(math.log10(least))
        return next(float(f"{factor * power:g}") for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))

    @property
    def slider(self) -> tuple[float, float, float]:
        """The permitted range, and the number at the start: the typical one, or the smallest where that is null.

        The bounds are rounded inwards, so that each number that the page states is permitted.
        """
        unit = self.step / PARTS_OF_A_STEP
        first, last = math.ceil(self.minimum / unit - ROUNDING), math.floor(self.maximum / unit + ROUNDING)
        typical = first if self.value is None else round(float(self.value) / unit)
        low, high, start = (float(f"{number * unit:.10g}") for number in (first, last, min(max(typical, first), last)))
        return low, high, start

    @property
    def label(self) -> str:
        """The column's name in words: see `in_words`."""
        return in_words(self.name)

    @property
    def permitted(self) -> str:
        """The range of a number, such as `10 to 90`."""
        low, high, _ = self.slider
        return f"{text_of(low)} to {text_of(high)}"

    @property
    def options(self) -> list[str]:
        """The texts of the choices."""
        return [text_of(value) for value in self.choices]

    def read(self, text: str) -> ConditionValue:
        """The value from the text in the page's field, or from the position of a choice.

        Raises:
            UserError: the text is no number in the permitted range, or no such choice exists.
        """
        if self.choices:
            positions = {str(position): value for position, value in enumerate(self.choices)}
            if text not in positions:
                raise UserError(f"{self.label}: must be one of {len(positions)} choices, but got {shortened(text)!r}")
            return positions[text]
        low, high, _ = self.slider
        given = text.strip()
        if NUMBER.fullmatch(given) and low <= float(given) <= high:
            return float(given)
        hint = "; write a decimal point, and no separators of thousands" if "," in given else ""
        got = repr(shortened(given)) if given else "an empty field"
        raise UserError(f"{self.label}: must be a number from {self.permitted}, but got {got}{hint}")


def text_of(value: ConditionValue) -> str:
    """A value as the page shows it."""
    return "unknown" if value is None else value if isinstance(value, str) else f"{value:.10g}"


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


def _control(name: str, typical: ConditionValue, preprocessing: Preprocessing, group: str) -> Control:
    seen = preprocessing.ranges(group)[name]
    null: tuple[ConditionValue, ...] = (None,) if seen.has_nulls else ()
    if seen.minimum is None or seen.maximum is None:
        return Control(name, typical, choices=(*seen.categories, *null))
    if seen.minimum == seen.maximum:
        return Control(name, typical, choices=(seen.minimum, *null))
    return Control(name, typical, (), seen.minimum, seen.maximum, seen.has_nulls)
