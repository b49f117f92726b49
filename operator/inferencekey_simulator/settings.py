"""How the simulated platform behaves, where the contract leaves it open or a test wants to choose.

Decides the values and their defaults only; what they lead to is decided where they are read.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

Phase = Literal["scheduling", "provisioning", "bootstrapping", "ready", "error"]
Building = Literal["scheduling", "provisioning", "bootstrapping"]
CreatedAt = Literal["utc", "naive", "year_1", "missing"]
Pages = Literal["off", "next_cursor", "has_more", "total", "link"]
SlugForm = Literal["as_sent", "upper", "truncated"]
LONGEST_SKEW = 1e10
"""Seconds: about 317 years, so that every time stays one that a calendar has."""
_BY_KEY = frozenset({"readiness", "list_lag"})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReadinessSettings(_Strict):
    """How long a new workload takes to serve, in seconds per phase, and how that ends.

    All three at 0 make it ready at once. `hold_at` stops every new workload in that phase until it is moved
    by hand. `error` lets it fail with that message where it would have become ready. `restart_on_update`
    sends a workload back to the beginning when it is patched. `keep_alive` is the interval of the comment
    lines of a quiet stream.
    """

    scheduling: NonNegativeFloat = 0.2
    provisioning: NonNegativeFloat = 0.5
    bootstrapping: NonNegativeFloat = 0.8
    hold_at: Building | None = None
    error: str | None = None
    restart_on_update: bool = True
    keep_alive: PositiveFloat = 15.0

    @staticmethod
    def lasting(seconds: float) -> ReadinessSettings:
        """Return settings whose three phases take `seconds` in all, in the usual proportions."""
        shares = {"scheduling": 0.15, "provisioning": 0.35, "bootstrapping": 0.5}
        return ReadinessSettings.model_validate({phase: seconds * part for phase, part in shares.items()})


class Normalisation(_Strict):
    """One change that the server makes to what it was sent.

    `field` is a wire field, dotted below the top level (`config.command`). `trim` strips white space at
    both ends, `lower` makes lower case, `clamp` moves a number between `minimum` and `maximum`, `set` puts
    `value` there. All but `set` leave a field alone that is absent or of another type. With `lists_only` the
    server keeps, and answers a write with, what it was sent, and only lists show the change.
    """

    field: str
    operation: Literal["trim", "lower", "clamp", "set"]
    minimum: float | None = None
    maximum: float | None = None
    value: Any = None
    lists_only: bool = False


class ListLag(_Strict):
    """How many seconds after a change lists show it, for each kind of change; 0 shows it immediately."""

    create: NonNegativeFloat = 0.0
    update: NonNegativeFloat = 0.0
    delete: NonNegativeFloat = 0.0

    @property
    def is_set(self) -> bool:
        """Whether any kind of change lags."""
        return bool(self.create or self.update or self.delete)


class Settings(_Strict):
    """The behaviour that can be chosen.

    `error_form`: `{"error": "…"}`, `{"error": {"code", "message"}}`, or plain text.
    `list_shape`: a bare array, `{"workloads": […]}`, or a bare array that is `null` when there are none.
    `config_update`: whether a PATCH replaces the stored `config` whole or lays its keys over it.
    `omit_null`: leave out fields without a value instead of answering null.
    `latency`: seconds before any request is handled; `project_latency` overrides it for single projects.
    `extra_config`, `extra_policy_config`: keys the server adds inside `config` and
    `execution_policy_config` unless they were sent; `extra_fields`: further top-level fields of every
    answer. `normalise`: see Normalisation.

    What lists show: `list_lag`: see ListLag. `stale_replicas`: only every second list of a project lags; the
    first is fresh. `pages`: a list with more than `page_size` rows answers only the first page, and says so
    in this form, which takes the place of `list_shape`. `extra_rows`: rows that every list of every project
    ends with, exactly as given.

    Time: `clock_skew`: seconds that the platform's clock is ahead. `date_header`: whether the control plane's
    answers carry the platform's time, the true time, or no `Date`. `created_at`: how new rows spell it; RFC 3339
    in UTC, without a zone, as the year 1, or null.

    Writes: `deletion`: what DELETE does; remove the row now (204), `deletion_seconds` later (202), never
    (202), or keep it listed with `deleted_at` (204). `slug_form`: what POST makes of the canonical slug; upper
    case, or the first `slug_length` characters.
    """

    error_form: Literal["string", "object", "text"] = "object"
    list_shape: Literal["array", "object", "null"] = "array"
    config_update: Literal["replace", "merge"] = "replace"
    omit_null: bool = False
    latency: NonNegativeFloat = 0.0
    project_latency: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    readiness: ReadinessSettings = ReadinessSettings()
    extra_config: dict[str, Any] = Field(default_factory=dict)
    extra_policy_config: dict[str, Any] = Field(default_factory=dict)
    extra_fields: dict[str, Any] = Field(default_factory=dict)
    normalise: tuple[Normalisation, ...] = ()
    list_lag: ListLag = ListLag()
    stale_replicas: bool = False
    pages: Pages = "off"
    page_size: PositiveInt = 2
    extra_rows: tuple[dict[str, Any], ...] = ()
    clock_skew: float = Field(default=0.0, ge=-LONGEST_SKEW, le=LONGEST_SKEW)
    date_header: Literal["platform", "true", "none"] = "platform"
    created_at: CreatedAt = "utc"
    deletion: Literal["now", "later", "never", "soft"] = "now"
    deletion_seconds: NonNegativeFloat = 2.0
    slug_form: SlugForm = "as_sent"
    slug_length: PositiveInt = 8

    def patched(self, changes: dict[str, Any]) -> Settings:
        """Return these settings with some replaced: `readiness` and `list_lag` key by key, everything else whole.

        Raises pydantic.ValidationError (a ValueError) for an unknown name or a value that does not fit.
        """
        values = self.model_dump()
        for name, value in changes.items():
            by_key = name in _BY_KEY and isinstance(value, dict)
            values[name] = values[name] | value if by_key else value
        return Settings.model_validate(values)

    def latency_of(self, project: str | None) -> float:
        """Return the seconds a request about this project waits before it is handled."""
        return self.project_latency.get(project or "", self.latency)
