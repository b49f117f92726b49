"""How a field of the models says what the CRD should say of it: words, bounds, rules, list keys.

Everything here is for the API server alone and nothing of it is checked at runtime: an object that is stored
is read, whatever bounds a release before or after this one has. `schema` turns it into the CRD.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ConfigDict, Field, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from inferencekey_operator.api.validation import NO_TOKEN, Rule

VALIDATIONS: Final = "x-kubernetes-validations"

WIRE: Final = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", hide_input_in_errors=True)
"""snake_case in Python, camelCase in the API; unknown keys are dropped; errors name fields, never values."""


def text(description: str, longest: int, *further: Rule, no_token: Rule = NO_TOKEN) -> Any:
    """A bounded string that must not hold a token; without the bound CEL's cost limit refuses the rules."""
    return _described(description, maxLength=longest, **{VALIDATIONS: [no_token, *further]})


def one_of(description: str, values: Iterable[str]) -> Any:
    """A string that the API server holds to `values`; at runtime any other is passed on as it is."""
    return _described(description, enum=[str(value) for value in values])


def items(description: str, most: int) -> Any:
    """A bounded list."""
    return _described(description, maxItems=most)


def keyed_by(key: str, description: str) -> Any:
    """A list whose items are told apart by one of their fields, for server-side apply."""
    keywords: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return _described(description, **keywords)


def _described(description: str, **keywords: Any) -> FieldInfo:
    field: FieldInfo = Field(description=description, json_schema_extra=keywords)
    return field


@dataclass(frozen=True)
class KnownKeys:
    """Marks a dictionary of which the keys of `model` are known; any other key passes through."""

    model: type

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of the model in the place of the dictionary's own."""
        return handler(self.model.__pydantic_core_schema__)  # type: ignore[attr-defined]


MOST_KEYS: Final = 256
"""Keys of an object that is open to more: what lies deeper in an unknown one, no schema can bound."""


def open_to_more(*checks: Rule) -> ConfigDict:
    """The configuration of a model of known keys: others are kept as they are, up to MOST_KEYS of them."""
    keywords: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True, "maxProperties": MOST_KEYS}
    if checks:
        keywords[VALIDATIONS] = list(checks)
    return ConfigDict(json_schema_extra=keywords)
