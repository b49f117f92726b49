"""docs/helm-values.md: every value of the chart with its default, out of the comments of values.yaml.

A comment that begins with `# --` is about the key below it, and goes on in further comment lines. Decides what the
page looks like; knows of the values only what that file says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from helmchart.render import CHART, ROOT

PAGE = ROOT / "docs" / "helm-values.md"

_KEY = re.compile(r"(?P<indent> *)(?P<key>[\w-]+):(?P<rest>.*)")
_HEAD = """# Values of the Helm chart

[Installing](install.md) says how they are given. Other keys are refused (`values.schema.json`), so that a typo does not
pass for a setting. This page is generated from the comments in
[`values.yaml`](../charts/inferencekey-operator/values.yaml) by `make generate`.

| value | default | meaning |
| --- | --- | --- |
"""


@dataclass(frozen=True)
class Value:
    """One documented value."""

    path: tuple[str, ...]
    default: Any
    meaning: str

    @property
    def name(self) -> str:
        """As it is given to `--set`."""
        return ".".join(self.path)


def page() -> str:
    """The page as it should stand."""
    return _HEAD + "".join(f"| `{value.name}` | {_cell(value.default)} | {value.meaning} |\n" for value in values())


def defaults() -> dict[str, Any]:
    """What values.yaml says."""
    read: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return read


def values() -> list[Value]:
    """Every documented value, in the file's order."""
    return [Value(path, _at(path), meaning) for path, meaning in _documented()]


def undocumented() -> list[str]:
    """The leaves of values.yaml that no comment is about, neither their own nor one of a map around them."""
    known = {path for path, _ in _documented()}
    return [
        ".".join(leaf)
        for leaf in _leaves(defaults())
        if not any(leaf[:length] in known for length in range(1, len(leaf) + 1))
    ]


def _documented() -> Iterator[tuple[tuple[str, ...], str]]:
    path: list[str] = []
    comment: list[str] | None = None
    for line in (CHART / "values.yaml").read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("# --"):
            comment = [text.removeprefix("# --").strip()]
        elif text.startswith("#"):
            if comment is not None:
                comment.append(text.removeprefix("#").strip())
        elif found := _KEY.fullmatch(line):
            path = [*path[: len(found["indent"]) // 2], found["key"]]
            if comment is not None:
                yield tuple(path), " ".join(comment)
            comment = None
        else:
            comment = None


def _leaves(tree: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key)


def _at(path: tuple[str, ...]) -> Any:
    value: Any = defaults()
    for key in path:
        value = value[key]
    return value


def _cell(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value)}`"
