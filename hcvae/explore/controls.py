"""The controls of the page of `hcvae explore`: numbers within their permitted range, and choices."""

import math
import re
from dataclasses import dataclass

from hcvae.data.preprocessing import ConditionValue, Preprocessing
from hcvae.errors import UserError
from hcvae.validation import shortened

STEPS = 100
"""Steps of a slider, at most."""
PARTS_OF_A_STEP = 10
"""Bounds and typical values are rounded to this fraction of a step."""
ROUNDING = 1e-3
"""Tolerance of that rounding, so that a bound on a multiple stays there."""
UNITS = ("dB", "Hz", "ms", "uV", "years")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Control:
    """One static column or one direction of a latent: a number if its values vary, otherwise a choice."""

    name: str
    """The column, or the direction."""
    value: ConditionValue
    """The typical value of the training rows."""
    choices: tuple[ConditionValue, ...] = ()
    """All values of a choice; empty for a number."""
    minimum: float = 0.0
    maximum: float = 0.0
    has_nulls: bool = False
    """Whether null is permitted beside numbers."""

    @property
    def step(self) -> float:
        """The step of a slider: at least 1 / `STEPS` of its range, and 1, 2 or 5 times a power of ten."""
        least = (self.maximum - self.minimum) / STEPS
        power = 10.0 ** math.floor(math.log10(least))
        for factor in (1, 2, 5):
            step = factor * power
            if step >= least * (1 - 1e-9):
                return float(f"{step:g}")
        return float(f"{10 * power:g}")

    @property
    def slider(self) -> tuple[float, float, float]:
        """The permitted range, and the initial number: the typical one, or the smallest if that is null.

        The bounds are rounded inwards, so that each number that the page shows is permitted.
        """
        unit = self.step / PARTS_OF_A_STEP
        first = math.ceil(self.minimum / unit - ROUNDING)
        last = math.floor(self.maximum / unit + ROUNDING)
        typical = first
        if self.value is not None:
            typical = round(float(self.value) / unit)
        start = min(max(typical, first), last)
        return _multiple(first, unit), _multiple(last, unit), _multiple(start, unit)

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
        return list(map(text_of, self.choices))

    def read(self, text: str) -> ConditionValue:
        """Return the value of the text in the page's field, or of the position of a choice.

        Raises:
            UserError: the text is not a number in the permitted range, or there is no such choice.
        """
        if self.choices:
            return self._choice(text)
        low, high, _ = self.slider
        given = text.strip()
        if NUMBER.fullmatch(given) and low <= float(given) <= high:
            return float(given)
        hint = ""
        if "," in given:
            hint = "; write a decimal point, and no thousands separators"
        raise UserError(f"{self.label}: must be a number from {self.permitted}, but got {quoted(given)}{hint}")

    def _choice(self, text: str) -> ConditionValue:
        for position, value in enumerate(self.choices):
            if text == str(position):
                return value
        raise UserError(f"{self.label}: must be one of {len(self.choices)} choices, but got {shortened(text)!r}")


def quoted(text: str) -> str:
    """Return the text of a field as messages quote it."""
    if not text:
        return "an empty field"
    return repr(shortened(text))


def text_of(value: ConditionValue) -> str:
    """Return a value as the page shows it."""
    if value is None:
        return "unknown"
    if isinstance(value, str):
        return value
    return f"{value:.10g}"


def in_words(column: str) -> str:
    """Return a column's name in words with its unit in brackets: `stimulus_level_db` is `stimulus level (dB)`."""
    *words, last = column.split("_")
    for unit in UNITS:
        if words and unit.lower() == last:
            return f"{' '.join(words)} ({unit})"
    return " ".join([*words, last])


def controls_of(preprocessing: Preprocessing, group: str) -> list[Control]:
    """Return a control for each static column, with the range of the training rows of a normalisation group."""
    typical = preprocessing.typical[group]
    controls = []
    for column in preprocessing.static.columns:
        if column.name != preprocessing.signal.group_by:
            controls.append(_control(column.name, typical[column.name], preprocessing, group))
    return controls


def _multiple(number: int, unit: float) -> float:
    return float(f"{number * unit:.10g}")


def _control(name: str, typical: ConditionValue, preprocessing: Preprocessing, group: str) -> Control:
    seen = preprocessing.ranges(group)[name]
    null: list[ConditionValue] = []
    if seen.has_nulls:
        null.append(None)
    if seen.minimum is None or seen.maximum is None:
        return Control(name, typical, choices=(*seen.categories, *null))
    if seen.minimum == seen.maximum:
        return Control(name, typical, choices=(seen.minimum, *null))
    return Control(name, typical, minimum=seen.minimum, maximum=seen.maximum, has_nulls=seen.has_nulls)
