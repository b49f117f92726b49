"""Scripts run by the rules that Argo CD has for them: Lua 5.1 with little more than tables, and values as JSON.

Argo CD opens the base, package and table libraries, and of `os` no more than `time` and `date`; a script of a user's
has neither `string` nor `math` unless somebody opts in. Here a C Lua is put into that state; that the real engine says
the same is seen by `make e2e-argocd`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lupa import lua51  # type: ignore[import-untyped]  # it has no types

Json = dict[str, Any]

_SANDBOX = """
debug.setmetatable("", nil)
local safe = { time = os.time, date = os.date }
for _, name in ipairs({ "string", "math", "io", "debug", "coroutine", "os", "python" }) do
  package.loaded[name], _G[name] = nil, nil
end
package.path, package.cpath = "", ""
os, package.preload["os"] = safe, function() return safe end
"""
STATES = {"Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"}


class ScriptError(Exception):
    """What a script said with error(), or what Lua said of it."""


def health(script: str, resource: Json) -> Json:
    """The status and the message that a health script gives a resource."""
    given: Json = _table(_run(script, resource))
    assert given["status"] in STATES, given
    return given


def actions(script: str, resource: Json) -> dict[str, Json]:
    """The actions that a discovery script offers for a resource, by name."""
    offered = _table(_run(script, resource))
    return {name: {"name": name, "disabled": False, **(action or {})} for name, action in offered.items()}


def act(script: str, resource: Json) -> Json:
    """The resource as an action leaves it; Argo CD patches the live one to become that."""
    restored: Json = _restored(_table(_run(script, resource)), resource)
    return restored


def _table(returned: Any) -> Json:
    assert isinstance(returned, dict), f"a script returns a table, not {returned!r}"
    return returned


def _run(script: str, resource: Json) -> Any:
    runtime = lua51.LuaRuntime(register_eval=False, register_builtins=False)
    runtime.execute(_SANDBOX)
    runtime.globals()["obj"] = _to_lua(runtime, resource)
    runtime.globals()["actionParams"] = runtime.table()
    try:
        return _from_lua(runtime.execute(script))
    except lua51.LuaError as error:
        raise ScriptError(str(error)) from None


def _to_lua(runtime: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return runtime.table_from({key: _to_lua(runtime, item) for key, item in value.items() if item is not None})
    if isinstance(value, list):
        return runtime.table_from([_to_lua(runtime, item) for item in value])
    return value


def _from_lua(value: Any) -> Any:
    if lua51.lua_type(value) != "table":
        return value
    items = dict(value.items())
    if set(items) == set(range(1, len(items) + 1)):  # an empty table is an empty list
        return [_from_lua(items[number]) for number in sorted(items)]
    return {key: _from_lua(item) for key, item in items.items()}


def _restored(changed: Any, before: Any) -> Any:
    """An empty table could be a list or an object: what it was before decides."""
    if isinstance(before, Mapping):
        if changed == []:
            return {}
        return {key: _restored(item, before.get(key)) for key, item in changed.items()}
    if isinstance(before, list):
        return [_restored(*pair) for pair in zip(changed, before, strict=False)] + changed[len(before) :]
    return changed
