"""What pydantic found wrong, in words for the person who wrote the input."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hcvae.suggest import did_you_mean

MAX_EXPLAINED, MAX_CHARACTERS = 10, 200
"""Of the mistakes in one message, and of a value in it."""
HIDDEN_INPUT = "hidden_input"
"""Type of mistakes whose value is not repeated."""
SECRET_ADVICE = (
    "holds a key or a password, which would be seen in process lists, logs and study.json; keep it where the store's "
    "own tools look for it (AWS_PROFILE, environment, instance role)"
)

PLAIN = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "model_attributes_type": "must be an object",
    "model_type": "must be an object",
    "string_type": "must be text",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
}
"""Messages in the words of JSON, by the types of pydantic's, which are in those of Python."""
UNION_MEMBER = re.compile(r"bool|int|float|str|(list|literal|tuple)\[.*\]")
"""What pydantic adds to the place of a mistake in a union."""


def shows_secret(uri: str) -> bool:
    """Whether `uri` holds a password or a key: before its last `@`, or as a parameter."""
    user = uri.partition("://")[2].rpartition("@")[0]
    return ":" in user or re.search(r"[?&]\w*(password|secret|token|access_key)\w*=", uri, re.IGNORECASE) is not None


def explain(error: ValidationError, model: type[BaseModel], arguments: Sequence[str] | None = None) -> str:
    """One line a mistake: where, what, the value, and what would be right. With the `arguments` of a command line, what
    they set is named as the option that it is."""
    details = list(_merged(error.errors(), model))
    lines = [_explain_one(where, detail, arguments) for where, detail in details[:MAX_EXPLAINED]]
    more = len(details) - len(lines)
    return "\n".join([*lines, f"and {more} more mistakes"] if more else lines)


@dataclass(frozen=True)
class _Where:
    """A place in the input, as its writer names it."""

    keys: tuple[str, ...]
    models: tuple[type[BaseModel], ...]
    """What may stand there: several where a key `type` chooses."""
    chosen: str | None
    """What `type` has chosen."""

    @classmethod
    def of(cls, location: Sequence[Any], model: type[BaseModel]) -> "_Where":
        """Without what pydantic adds: the chosen types, and the members of unions."""
        keys: list[str] = []
        models: tuple[type[BaseModel], ...] = (model,)
        chosen: str | None = None
        for part in location:
            of_type = tuple(kind for kind in models if len(models) > 1 and _type_of(kind) == part)
            field = next((kind.model_fields[part] for kind in models if part in kind.model_fields), None)
            if of_type:
                models, chosen = of_type, str(part)
            elif not (part == location[-1] and UNION_MEMBER.fullmatch(str(part))):
                keys.append(str(part))
            if field is not None:
                inner = tuple(kind for kind in kinds_of(field.annotation) if issubclass(kind, BaseModel))
                models, chosen = inner or models, None if inner else chosen
        return cls(tuple(keys), models, chosen)


def _merged(details: Sequence[Any], model: type[BaseModel]) -> Iterator[tuple[_Where, Any]]:
    """Each mistake with its message: those of the members of a union are one, and what follows from another is none."""
    by_place: dict[tuple[str, ...], list[tuple[_Where, Any]]] = {}
    for detail in map(_of_whole_list, details):
        where = _Where.of(detail["loc"], model)
        by_place.setdefault(where.keys, []).append((where, detail | {"msg": plain(detail)}))
    above = {keys[:end] for keys in by_place for end in range(1, len(keys))}
    for keys, found in by_place.items():
        if keys in above:
            continue
        where, detail = found[0]
        wanted = dict.fromkeys(re.sub("^(must|input should) be ", "", other["msg"]) for _, other in found)
        yield where, detail if len(wanted) == 1 else detail | {"msg": f"must be {' or '.join(wanted)}"}


def _of_whole_list(detail: Any) -> Any:
    """A mistake in an element of a list of fixed length, where no list is right as well, is one of the whole list."""
    location = [str(part) for part in detail["loc"]]
    member = next((index for index, part in enumerate(location[:-1]) if part.startswith("tuple[")), None)
    if member is None:
        return detail
    length = location[member].count(",") + 1
    return detail | {"loc": detail["loc"][:member], "type": "list", "msg": f"must be {length} values"}


def plain(detail: Any) -> str:
    """The message of one of pydantic's errors, in the words of JSON."""
    message: str = detail["msg"].removeprefix("Value error, ")
    return PLAIN.get(detail["type"], message[0].lower() + message[1:])


def _explain_one(where: _Where, detail: Any, arguments: Sequence[str] | None) -> str:
    place, kind = _named(where, detail, arguments), detail["type"]
    if kind == "missing":
        return f"{place}: is required"
    if kind == "extra_forbidden":
        of = f" of a {where.chosen!r}" if where.chosen else ""
        known = [name for model in where.models for name in model.model_fields]
        return f"{place}: unknown key{of}{did_you_mean(where.keys[-1], known)}"
    if kind.startswith("union_tag"):
        types = ", ".join(filter(None, map(_type_of, where.models)))
        got = f", but got {shortened(repr(detail['ctx']['tag']))}" if "tag" in detail["ctx"] else ""
        return f"{place}.type: must be one of {types}{got}"
    message = shortened(detail["msg"], 5 * MAX_CHARACTERS)
    hidden = kind == HIDDEN_INPUT or isinstance(detail["input"], dict | BaseModel) or ", but got " in message
    value = "" if hidden else f", but got {shortened(repr(detail['input']))}"
    return f"{place}{': ' if place else ''}{message}{value}"


def _named(where: _Where, detail: Any, arguments: Sequence[str] | None) -> str:
    """The place, or the option of the command line that sets it."""
    place = shortened(".".join(where.keys))
    options = {argument.partition("=")[0] for argument in arguments or ()}
    if arguments is not None and detail["type"] == "missing" and len(where.keys) == 1:
        return f"--{place}"
    named = (f"--{place}", f"--{re.sub('[.][0-9]+$', '', place)}")  # of a list, without the number of its element
    return next((option for option in named if option in options), place)


def _type_of(model: type[BaseModel]) -> str | None:
    """The value of its key `type`, which distinguishes it from others."""
    field = model.model_fields.get("type")
    return None if field is None else str(field.default)


def shortened(text: str, most: int = MAX_CHARACTERS) -> str:
    """`text` without what a terminal would obey, and not longer than `most` characters."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: most + 1])
    return shown if len(text) <= most else f"{shown[:most]}..."


def kinds_of(annotation: Any) -> Iterator[type]:
    """The plain types in an annotation."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for argument in get_args(annotation):
        yield from kinds_of(argument)
