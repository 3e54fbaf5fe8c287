"""Short representations of objects: one line in a console, a small table in a notebook."""

from collections.abc import Mapping
from html import escape

from hcvae.validation import shortened

MAX_VALUE = 80
"""Characters of a value."""
MAX_LINE = 300
"""Characters of a line."""


class Described:
    """Base class of objects that are shown by a few main facts."""

    def facts(self) -> Mapping[str, object]:
        """Return the main facts by name."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return one_line(self, self.facts())

    def _repr_html_(self) -> str:
        return small_table(self, self.facts())


def one_line(described: object, facts: Mapping[str, object]) -> str:
    """Format `facts` like the arguments of a call."""
    arguments = []
    for name, value in facts.items():
        arguments.append(f"{name}={shortened(_text(value), MAX_VALUE)}")
    return f"{type(described).__name__}({shortened(', '.join(arguments), MAX_LINE)})"


def small_table(described: object, facts: Mapping[str, object]) -> str:
    """Format `facts` as an HTML table with all text escaped."""
    rows = ""
    for name, value in facts.items():
        text = escape(shortened(_text(value), MAX_VALUE))
        rows += f"<tr><th style='text-align: left'>{escape(name)}</th><td style='text-align: left'>{text}</td></tr>"
    return f"<table><caption>{escape(type(described).__name__)}</caption>{rows}</table>"


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        pairs = [f"{name} {_text(inner)}" for name, inner in value.items()]
        return ", ".join(pairs)
    return str(value)
