"""Error messages for pydantic's validation errors, in the terms of the person who wrote the input."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hcvae.suggest import did_you_mean

MAX_EXPLAINED = 10
"""Errors in one message."""
MAX_CHARACTERS = 200
"""Characters of a value in a message."""
HIDDEN_INPUT = "hidden_input"
"""Type of errors whose value is not repeated."""
SECRET_ADVICE = (
    "holds a key or a password, which would show in process lists, logs and study.json; keep it where the store's "
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
"""Messages in terms of JSON, by the type of pydantic's error; pydantic's own are in terms of Python."""
UNION_MEMBER = re.compile(r"bool|int|float|str|(list|literal|tuple)\[.*\]")
"""What pydantic adds to the location of an error in a union."""


def shows_secret(uri: str) -> bool:
    """Whether `uri` holds a password or key, before its last `@` or as a parameter."""
    user = uri.partition("://")[2].rpartition("@")[0]
    return ":" in user or re.search(r"[?&]\w*(password|secret|token|access_key)\w*=", uri, re.IGNORECASE) is not None


def explain(error: ValidationError, model: type[BaseModel], arguments: Sequence[str] | None = None) -> str:
    """Return one line per error: the place, what is wrong, the value, and what would be right.

    Places that the `arguments` of a command line set are named as options.
    """
    details = list(_merged(error.errors(), model))
    lines = [_explain_one(where, detail, arguments) for where, detail in details[:MAX_EXPLAINED]]
    more = len(details) - len(lines)
    if more:
        lines.append(f"and {more} more errors")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Where:
    """A location in the input."""

    keys: tuple[str, ...]
    models: tuple[type[BaseModel], ...]
    """Models allowed there: several if a key `type` selects one."""
    chosen: str | None
    """The value of `type`."""

    @classmethod
    def of(cls, location: Sequence[Any], model: type[BaseModel]) -> "_Where":
        """Drop what pydantic adds to `location`: selected types and members of unions."""
        keys: list[str] = []
        models: tuple[type[BaseModel], ...] = (model,)
        chosen: str | None = None
        for part in location:
            of_type = _selected_by(models, part)
            inner = _models_in_field(models, part)
            if of_type:
                models = of_type
                chosen = str(part)
            elif not (part == location[-1] and UNION_MEMBER.fullmatch(str(part))):
                keys.append(str(part))
            if inner:
                models = inner
                chosen = None
        return cls(tuple(keys), models, chosen)


def _selected_by(models: Sequence[type[BaseModel]], selector: Any) -> tuple[type[BaseModel], ...]:
    """Return which of several models the value `selector` of their key `type` selects; none if there is no choice."""
    if len(models) < 2:
        return ()
    return tuple(kind for kind in models if _type_of(kind) == selector)


def _models_in_field(models: Sequence[type[BaseModel]], name: Any) -> tuple[type[BaseModel], ...]:
    """Return the models that the field `name` of the first of `models` with such a field can hold."""
    for model in models:
        if name in model.model_fields:
            kinds = kinds_of(model.model_fields[name].annotation)
            return tuple(kind for kind in kinds if issubclass(kind, BaseModel))
    return ()


def _merged(details: Sequence[Any], model: type[BaseModel]) -> Iterator[tuple[_Where, Any]]:
    """Yield each error with its message; merge those of a union's members, and skip those that follow from another."""
    by_place: dict[tuple[str, ...], list[tuple[_Where, Any]]] = {}
    for detail in map(_of_whole_list, details):
        where = _Where.of(detail["loc"], model)
        by_place.setdefault(where.keys, []).append((where, detail | {"msg": plain(detail)}))
    for keys, found in by_place.items():
        if _has_error_inside(keys, by_place):
            continue  # it is more specific
        where, detail = found[0]
        allowed: dict[str, None] = {}
        for _, other in found:
            allowed[re.sub("^(must|input should) be ", "", other["msg"])] = None
        if len(allowed) > 1:
            detail = detail | {"msg": f"must be {' or '.join(allowed)}"}
        yield where, detail


def _has_error_inside(keys: tuple[str, ...], places: Iterable[tuple[str, ...]]) -> bool:
    return any(place != keys and place[: len(keys)] == keys for place in places)


def _of_whole_list(detail: Any) -> Any:
    """Turn an error in an element of an optional fixed-length list into one of the whole list."""
    location = detail["loc"]
    for index, part in enumerate(map(str, location[:-1])):
        if part.startswith("tuple["):
            length = part.count(",") + 1
            return detail | {"loc": location[:index], "type": "list", "msg": f"must be {length} values"}
    return detail


def plain(detail: Any) -> str:
    """Return the message of one of pydantic's errors, in terms of JSON."""
    if detail["type"] == "too_short" and detail["ctx"]["min_length"] > 1:
        return f"must have {detail['ctx']['min_length']} or more entries"
    message: str = detail["msg"].removeprefix("Value error, ")
    return PLAIN.get(detail["type"], message[0].lower() + message[1:])


def _explain_one(where: _Where, detail: Any, arguments: Sequence[str] | None) -> str:
    place = _named(where, detail, arguments)
    kind = detail["type"]
    if kind == "missing":
        return f"{place}: is required"
    if kind == "extra_forbidden":
        return f"{place}: {_unknown_key(where)}"
    if kind.startswith("union_tag"):
        return f"{place}.type: {_unknown_type(where, detail['ctx'])}"
    message = shortened(detail["msg"], 5 * MAX_CHARACTERS)
    shows_no_value = kind == HIDDEN_INPUT or isinstance(detail["input"], dict | BaseModel) or ", but got " in message
    if place:
        message = f"{place}: {message}"
    if shows_no_value:
        return message
    return f"{message}, but got {shortened(repr(detail['input']))}"


def _unknown_key(where: _Where) -> str:
    message = "unknown key"
    if where.chosen:
        message += f" of a {where.chosen!r}"
    known: list[str] = []
    for model in where.models:
        known += model.model_fields
    return message + did_you_mean(where.keys[-1], known)


def _unknown_type(where: _Where, context: Mapping[str, Any]) -> str:
    message = f"must be one of {', '.join(filter(None, map(_type_of, where.models)))}"
    if "tag" in context:
        message += f", but got {shortened(repr(context['tag']))}"
    return message


def _named(where: _Where, detail: Any, arguments: Sequence[str] | None) -> str:
    """Return the dotted path, or the command-line option that sets it."""
    place = shortened(".".join(where.keys))
    if arguments is None:
        return place
    if detail["type"] == "missing" and len(where.keys) == 1:
        return f"--{place}"
    options = {argument.partition("=")[0] for argument in arguments}
    for option in (f"--{place}", f"--{re.sub('[.][0-9]+$', '', place)}"):  # the option of a list has no index
        if option in options:
            return option
    return place


def _type_of(model: type[BaseModel]) -> str | None:
    """Return the value of the key `type` that selects this model in a union."""
    field = model.model_fields.get("type")
    if field is None:
        return None
    return str(field.default)


def shortened(text: str, max_length: int = MAX_CHARACTERS) -> str:
    """Return at most `max_length` characters of `text`, with control characters escaped."""
    shown = "".join(map(_printable, text[: max_length + 1]))
    if len(text) <= max_length:
        return shown
    return f"{shown[:max_length]}..."


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return ascii(character)[1:-1]


def kinds_of(annotation: Any) -> Iterator[type]:
    """Yield the plain types in an annotation."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for argument in get_args(annotation):
        yield from kinds_of(argument)
