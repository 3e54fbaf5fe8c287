"""What pydantic found wrong, in words for the person who wrote the input."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hcvae.suggest import did_you_mean

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
    return "\n".join(_explain_one(detail, model) for detail in error.errors())


def _explain_one(detail: Any, model: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        *parents, key = detail["loc"]
        return f"{where}: unknown key{did_you_mean(str(key), _fields(model, parents))}"
    message = detail["msg"].removeprefix("Value error, ")
    prefix = f"{where}: " if where else ""
    hidden = detail["type"] == HOLDS_SECRET or isinstance(detail["input"], dict | BaseModel)
    value = "" if hidden else f", but got {detail['input']!r}"
    return f"{prefix}{message[0].lower()}{message[1:]}{value}"


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
