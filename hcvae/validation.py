"""What pydantic found wrong, in words for the person who wrote the input."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hcvae.suggest import did_you_mean

MOST_EXPLAINED, MOST_CHARACTERS = 10, 200
"""Of the mistakes in one message, and of a value in it."""
HOLDS_SECRET = "holds_secret"
"""Type of mistakes whose value is not repeated."""
SECRET_ADVICE = (
    "holds a key or a password, which would be seen in process lists, logs and study.json; keep it where the store's "
    "own tools look for it (AWS_PROFILE, environment, instance role)"
)


def shows_secret(uri: str) -> bool:
    """Whether `uri` holds a password or a key: before its last `@`, or as a parameter."""
    user = uri.partition("://")[2].rpartition("@")[0]
    return ":" in user or re.search(r"[?&]\w*(password|secret|token|access_key)\w*=", uri, re.IGNORECASE) is not None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """One line a mistake: where, what, the value, and what would be right."""
    lines = [_explain_one(detail, model) for detail in error.errors()[:MOST_EXPLAINED]]
    more = error.error_count() - len(lines)
    return "\n".join([*lines, f"and {more} more mistakes"] if more else lines)


def _explain_one(detail: Any, model: type[BaseModel]) -> str:
    where = shortened(".".join(str(part) for part in detail["loc"]))
    if detail["type"] == "extra_forbidden":
        *parents, key = detail["loc"]
        return f"{where}: unknown key{did_you_mean(str(key), _fields(model, parents))}"
    message = detail["msg"].removeprefix("Value error, ")
    prefix = f"{where}: " if where else ""
    hidden = detail["type"] == HOLDS_SECRET or isinstance(detail["input"], dict | BaseModel)
    value = "" if hidden else f", but got {shortened(repr(detail['input']))}"
    return f"{prefix}{message[0].lower()}{shortened(message[1:], 5 * MOST_CHARACTERS)}{value}"


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """`text` without what a terminal would obey, and not longer than `most` characters."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: most + 1])
    return shown if len(text) <= most else f"{shown[:most]}..."


def _fields(model: type[BaseModel], path: Sequence[Any]) -> list[str]:
    for part in (part for part in path if part in model.model_fields):  # not the keys of dictionaries, nor tags
        inner = [kind for kind in kinds_of(model.model_fields[part].annotation) if issubclass(kind, BaseModel)]
        if inner:
            model = inner[0]
    return list(model.model_fields)


def kinds_of(annotation: Any) -> Iterator[type]:
    """The plain types in an annotation."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for argument in get_args(annotation):
        yield from kinds_of(argument)
