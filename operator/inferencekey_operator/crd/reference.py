"""The resource as a page for people: `docs/reference.md` holds what `render` returns.

Decides how a field's type, default and bounds are said in words. What is said stands at the fields themselves: this
reads the CRD, as the API server does, and must know no field by name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from inferencekey_operator.api.markers import VALIDATIONS
from inferencekey_operator.api.validation import NO_TOKEN, NO_TOKEN_AS_KEY
from inferencekey_operator.api.workload import GROUP, KIND, VERSION
from inferencekey_operator.crd.schema import crd
from inferencekey_operator.crd.structural import Schema

_HEAD = f"""\
# Reference of the resource

<!-- Generated from the models in operator/inferencekey_operator by `make generate`; a test holds them together. -->

Every field of a `{KIND}` of `{GROUP}/{VERSION}`: its type, what it is unless you say otherwise, and its bounds.
[The Workload resource](workload.md) explains them, and `kubectl explain ikw --recursive` says the same in a terminal.

| part | who writes it |
| --- | --- |
| `metadata` | you; the operator only adds and takes off its finalizer |
| `spec` | you; the operator never writes a field of it |
| `status` | the operator; nobody else should |

A field without a default is absent until somebody writes it. What is absent of the platform's own settings is the
platform's to decide, and never counts as drift.
"""

_RULES_HEAD = """\
## Rules

What the API server refuses beside values that are out of bounds, and what it says then:

| at | what it says |
| --- | --- |
"""

_COLUMNS_HEAD = """\
## Columns

| column | shows | is |
| --- | --- | --- |
"""


def render() -> str:
    """The whole page."""
    version = crd()["spec"]["versions"][0]
    root = version["schema"]["openAPIV3Schema"]
    parts = [_section(f"## {name}", name, root["properties"][name], described=True) for name in ("spec", "status")]
    rules = "".join(f"| {at} | {_words(message)} |\n" for at, message in _rules(root))
    columns = "".join(map(_column, version["additionalPrinterColumns"]))
    return "\n".join([_HEAD, *parts, _RULES_HEAD + rules, _COLUMNS_HEAD + columns])


def _section(heading: str, path: str, schema: Schema, *, described: bool) -> str:
    """An object's fields as a table, and below it a section for each object in it.

    `described`: with its own words; they stand in the row of the field already, unless it is an item of a list.
    """
    words = f"{_words(schema['description'])}\n\n" if described else ""
    required = schema.get("required", [])
    rows = "".join(_row(name, field, name in required) for name, field in schema["properties"].items())
    open_ = "\nOther keys are passed on as they are.\n" if schema.get("x-kubernetes-preserve-unknown-fields") else ""
    table = f"| field | type | default | bounds | meaning |\n| --- | --- | --- | --- | --- |\n{rows}{open_}"
    inner = [
        _section(
            f"### {path}.{name}{'[]' * (field['type'] == 'array')}",
            f"{path}.{name}",
            _item(field),
            described="items" in field,
        )
        for name, field in schema["properties"].items()
        if "properties" in _item(field)
    ]
    return "\n".join([f"{heading}\n\n{words}{table}", *inner])


def _row(name: str, field: Schema, required: bool) -> str:
    default = "required" if required else f"`{_value(field['default'])}`" if "default" in field else ""
    bounds = "; ".join(_bounds(field))
    return f"| `{name}` | {_type(field)} | {default} | {bounds} | {_words(field.get('description', ''))} |\n"


def _item(field: Schema) -> Schema:
    """What a list holds; anything else itself."""
    item: Schema = field.get("items", field)
    return item


def _type(field: Schema) -> str:
    if field["type"] == "array":
        return f"list of {_type(field['items'])}s"
    return "time" if field.get("format") == "date-time" else str(field["type"])


def _bounds(field: Schema) -> Iterator[str]:
    if "enum" in field:
        yield "one of " + ", ".join(f"`{value}`" for value in field["enum"])
    if "maxLength" in field:
        yield f"at most {field['maxLength']} characters"
    if "maxItems" in field:
        yield f"at most {field['maxItems']}"
    if "minimum" in field:
        yield f"at least {field['minimum']}"
    if "items" in field and (each := "; ".join(_bounds(field["items"]))):
        yield f"each {each}"


def _rules(root: Schema) -> Iterator[tuple[str, str]]:
    """Where a rule is told, and its message; the one about tokens, which each text has, once."""
    yield "every text", NO_TOKEN["message"]
    for path, rule in _walk("", root):
        if rule not in (NO_TOKEN, NO_TOKEN_AS_KEY):
            yield f"`{path}{rule.get('fieldPath', '')}`".replace("`.", "`"), rule["message"]


def _walk(path: str, schema: Schema) -> Iterator[tuple[str, dict[str, Any]]]:
    for rule in schema.get(VALIDATIONS, ()):
        yield path, rule
    for name, field in schema.get("properties", {}).items():
        yield from _walk(f"{path}.{name}", field)
    if "items" in schema:
        yield from _walk(f"{path}[]", schema["items"])


def _column(column: dict[str, Any]) -> str:
    shown = "with `-o wide`" if column.get("priority") else "always"
    return f"| {column['name'].upper()} | {shown} | `{column['jsonPath']}` |\n"


def _value(default: Any) -> str:
    return default if isinstance(default, str) else json.dumps(default)


def _words(text: str) -> str:
    """As Markdown takes it: no tag, and no end of a cell."""
    return text.replace("<", "\\<").replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(render())
