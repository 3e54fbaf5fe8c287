"""Write docs/configuration.md from the JSON schema of the configuration: `make configuration`.

`tests/test_docs.py` fails where the page is not what this writes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tune.config import SearchConfig

PAGE = Path(__file__).with_name("configuration.md")
HEAD = """# Configuration

`make configuration` writes this page: edit the docstrings in `hcvae/config.py` and `tune/config.py` instead.

A configuration is a JSON file of these sections. Every option can be left out; unknown keys are refused. On the command
line, give an option by its dotted path: `--training.epochs 30`. `jobs.search` reads all sections, `jobs.train` all but
`search`.
"""
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
Schema = dict[str, Any]


def page() -> str:
    """Return the whole page in Markdown."""
    root = SearchConfig.model_json_schema()
    sections = [section for name in root["properties"] for section in _sections(name, root["properties"][name], root)]
    return HEAD + "".join(sections)


def _sections(path: str, field: Schema, root: Schema) -> Iterator[str]:
    """Yield the section that `field` holds, if it holds one, and those inside it."""
    for reference in _references(field):
        schema = root["$defs"][reference.rpartition("/")[2]]
        kind = schema["properties"].get("type", {}).get("const")
        yield _section(path if kind is None else f"{path}.PATH of type {kind}", schema)
        if kind is None:  # the cases of a conditional parameter are of the other types
            for name, nested in schema["properties"].items():
                yield from _sections(f"{path}.{name}", nested, root)


def _references(field: Schema) -> list[str]:
    entries = field.get("additionalProperties", field)
    if not isinstance(entries, dict):
        return []
    alternatives = entries.get("oneOf") or entries.get("anyOf") or [entries]
    return [alternative["$ref"] for alternative in alternatives if "$ref" in alternative]


def _section(path: str, schema: Schema) -> str:
    needed = schema.get("required", [])
    options = {name: field for name, field in schema["properties"].items() if not _is_section(field)}
    rows = [_row(name, field, name in needed) for name, field in options.items()]
    table = ["| option | values | default | meaning |", "| --- | --- | --- | --- |", *rows]
    return "\n".join(["", f"## {path}", "", _on_one_line(schema["description"]), "", *table, ""])


def _is_section(field: Schema) -> bool:
    return "$ref" in field


def _row(name: str, field: Schema, needed: bool) -> str:
    default = "needed" if needed else _default(field.get("default"))
    cells = [f"`{name}`", _values(field), default, _on_one_line(field.get("description", ""))]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _values(field: Schema) -> str:
    if "const" in field or "enum" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if "anyOf" in field:
        return " or ".join(_values(alternative) for alternative in field["anyOf"])
    if _references(field):
        return "see its section"
    kind = field["type"]
    if kind == "array":
        return f"list of: {_values(field['items'])}"
    limits = [f"{symbol} {field[name]:g}" for name, symbol in LIMITS.items() if name in field]
    return " ".join([kind, *limits])


def _default(value: Any) -> str:
    text = json.dumps(value)
    return "`BEST_PRACTICE_SPACE` in `tune/config.py`" if isinstance(value, dict) and len(text) > 200 else f"`{text}`"


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE}")
