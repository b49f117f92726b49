"""A pydantic model's JSON schema, turned into the structural form that a CustomResourceDefinition takes.

Decides nothing of what the schema says, only how: references are written out, "or null" goes (an absent field
is how Kubernetes says it), and so do titles. It must not know the Workload.
"""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

Schema = dict[str, Any]

_NULL: Schema = {"type": "null"}


def structural(model: type, *, defaults: bool) -> Schema:
    """The structural schema of a pydantic model; `defaults`: whether the API server fills in its defaults."""
    schema = TypeAdapter(model).json_schema(by_alias=True)
    return _plain(schema, schema.get("$defs", {}), defaults)


def _plain(schema: Schema, definitions: Schema, defaults: bool) -> Schema:
    schema = _resolved(schema, definitions)
    plain = {key: value for key, value in schema.items() if key not in ("$defs", "title", "default")}
    if "description" in plain:
        plain["description"] = " ".join(plain["description"].split())
    if "properties" in plain:
        plain["properties"] = {
            name: _plain(property_, definitions, defaults) for name, property_ in plain["properties"].items()
        }
    if "items" in plain:
        plain["items"] = _plain(plain["items"], definitions, defaults)
    default = _declared(schema.get("default"))
    return {**plain, "default": default} if defaults and default not in (None, {}, []) else plain


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    """Without `$ref` and `anyOf`: what stands beside them, as a description, wins over what they point to."""
    beside = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
    if "$ref" in schema:
        return _resolved(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions) | beside
    if "anyOf" in schema:
        (only,) = (option for option in schema["anyOf"] if option != _NULL)
        return _resolved(only, definitions) | beside
    return beside


def _declared(default: Any) -> Any:
    """A default without the fields that are None: those are absent."""
    if isinstance(default, dict):
        return {key: value for key, value in default.items() if value is not None}
    return default
