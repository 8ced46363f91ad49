"""Settings: the command line over the environment (``BIRDWATCH_*``) over a YAML file over the defaults."""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as _NotRead

from birdwatch.errors import SettingsError

__all__ = [
    "SINK_KINDS",
    "AlertmanagerSink",
    "AppriseSink",
    "Feature",
    "LogSink",
    "Mapping",
    "Segment",
    "Settings",
    "StreamSink",
    "WebhookSink",
    "load_settings",
]

_Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
"""What measures, segments and mappings can have as a part of their own names."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Mapping(_Strict):
    """How somebody else's stream says what a record of ours says."""

    topic: str | None = Field(default=None, description="The stream or file it is read from; ours by default.")
    each: str | None = Field(
        default=None,
        description="Where a message has many records: the path to a list of them, or to an object of them by name.",
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="Our field: their JSON path, such as `request_id: meta.trace_id`, or `features.visib: weather.vis`;"
        " with `each`, `each.key` is a record's name or its number in the list, and `each.value` the record.",
    )
    constants: dict[str, Any] = Field(default_factory=dict, description="Our field: a value they do not send.")
    units: dict[str, float] = Field(
        default_factory=dict, description="Our field: what to multiply their number by, such as 0.001 for milliseconds."
    )

    @model_validator(mode="after")
    def _entries(self) -> Self:
        within = {name: path for name, path in self.fields.items() if path.split(".")[0] == "each"}
        for name, path in within.items():
            if path.split(".")[1:2] not in (["key"], ["value"]) or path.startswith("each.key."):
                if self.each is not None:
                    raise ValueError(
                        f"{name}: {path!r} is nothing of a record: write each.key, each.value or each.value.PATH"
                    )
            elif self.each is None:
                raise ValueError(f"{name}: {path!r} leads into one of many records: say in `each` where they are")
        if self.each is not None and not within:
            raise ValueError(
                f"each: {self.each!r} is not used: lead some of `fields` into it, by each.key or each.value"
            )
        return self


class _Watched(_Strict):
    path: str | None = Field(
        default=None, description="Where it is in a request's `features`; dots lead into objects. Its name by default."
    )


class Feature(_Watched):
    """An input that is watched like a score."""

    kind: Literal["number", "category"] = Field(default="number", description="How its values are counted.")
    most: Annotated[int, Field(gt=0)] = Field(
        default=50,
        description="So many categories are counted by name in a pane, the most frequent; the rest as `(other)`.",
    )


class Segment(_Watched):
    """A dimension by which the models are looked at in parts: each category, or each band of a number, by itself."""

    kind: Literal["category", "number"] = Field(default="category", description="How it falls into parts.")
    most: Annotated[int, Field(gt=0)] = Field(
        default=20, description="So many categories are parts in a pane, the most frequent; the rest is `(other)`."
    )
    edges: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(
        default_factory=list,
        description="Where a number's bands meet, rising: `[500, 1000]`. Without them quantiles form bands when read.",
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.edges and self.kind != "number":
            raise ValueError("only a number has edges: write `kind: number`, or leave them out")
        if any(a >= b for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError(f"edges must rise, not {self.edges}")
        return self


class WebhookSink(_Strict):
    """A receiver of Alertmanager's webhook body, signed by Standard Webhooks."""

    kind: Literal["webhook"] = Field(description="`webhook`: Alertmanager's body (v4), signed by Standard Webhooks.")
    url: SecretStr = Field(description="Where alerts are posted.")
    secret: SecretStr | None = Field(
        default=None, description="The key of the signature: `whsec_` and base64 of 24 to 64 bytes."
    )
    secret_env: str | None = Field(default=None, description="The environment variable that holds the secret.")
    signed: bool = Field(default=True, description="`false` sends without a signature: anybody could have sent it.")
    timeout_seconds: Annotated[float, Field(gt=0)] = Field(
        default=10.0, description="How long an attempt may take in all."
    )
    allow_hosts: list[str] = Field(
        default_factory=list,
        description="Hosts, addresses or networks that may be posted to, though link-local or a cloud's metadata service.",
    )

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        keys = (self.secret is not None) + (self.secret_env is not None)
        if self.signed and keys != 1:
            raise ValueError(
                "the key of the signature is missing or given twice: give `secret` or `secret_env`; `signed: false` does without"
            )
        if not self.signed and keys:
            raise ValueError("there is a key, and `signed: false` does not use it: leave out one of them")
        return self

    @field_validator("url")
    @classmethod
    def _address(cls, url: SecretStr) -> SecretStr:
        return _web_address(url)


class AlertmanagerSink(_Strict):
    """Alertmanager, all of its instances: each is told everything, for they don't hand alerts on."""

    kind: Literal["alertmanager"] = Field(description="`alertmanager`: its API v2.")
    urls: Annotated[list[SecretStr], Field(min_length=1)] = Field(
        description="Its instances, such as `http://alertmanager:9093`."
    )
    timeout_seconds: Annotated[float, Field(gt=0)] = Field(
        default=10.0, description="How long an attempt may take in all."
    )
    allow_hosts: list[str] = Field(default_factory=list, description="As for a webhook.")

    @field_validator("urls")
    @classmethod
    def _addresses(cls, urls: list[SecretStr]) -> list[SecretStr]:
        return [_web_address(url) for url in urls]


class AppriseSink(_Strict):
    """Whatever apprise knows: PagerDuty, Slack, Teams, mail and a hundred more."""

    kind: Literal["apprise"] = Field(description="`apprise`: PagerDuty, Slack, mail …; needs `birdwatch[apprise]`.")
    urls: Annotated[list[SecretStr], Field(min_length=1)] = Field(
        description="apprise's addresses, such as `pagerduty://…` or `slack://…`."
    )


class LogSink(_Strict):
    """A file of JSON lines."""

    kind: Literal["log"] = Field(description="`log`: a file of JSON lines.")
    path: Path = Field(description="The file.")


class StreamSink(_Strict):
    """The stream `alerts` somewhere else."""

    kind: Literal["stream"] = Field(description="`stream`: the stream `alerts` at another place.")
    streams: str = Field(description="Where that place is, as in the setting `streams`.")


SINK_KINDS: Final = (WebhookSink, AlertmanagerSink, AppriseSink, LogSink, StreamSink)
"""What a sink can be."""

_Sink = Annotated[
    WebhookSink | AlertmanagerSink | AppriseSink | LogSink | StreamSink,
    Field(discriminator="kind"),
]

_SHORT: Final = {"webhook": "webhook", "log": "alert_log", "stream": "streams"}


def _web_address(url: SecretStr) -> SecretStr:
    # What is wrong is said without the address, which may hold a secret.
    scheme, found, rest = url.get_secret_value().partition("://")
    if scheme not in ("http", "https") or not found or not rest.strip("/"):
        raise ValueError("an address begins with http:// or https:// and names a host")
    return url


class Settings(BaseSettings):
    """All that can be set for the observing side."""

    model_config = SettingsConfigDict(
        env_prefix="BIRDWATCH_", env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    streams: str = Field(default="sqlite:birdwatch-streams", description="Where the streams live.")
    store: Path = Field(default=Path("birdwatch.db"), description="The SQLite file with panes, verdicts and alerts.")
    pane_seconds: Annotated[int, Field(gt=0)] = Field(default=60, description="Event time in one pane.")
    windows_start_seconds: Annotated[int, Field(ge=0)] = Field(
        default=0, description="When a day's window starts, in seconds after midnight UTC."
    )
    lateness_seconds: Annotated[float, Field(ge=0)] = Field(
        default=120.0, description="How long a pane waits for records after the watermark has passed its end."
    )
    idle_seconds: Annotated[float, Field(gt=0)] = Field(
        default=30.0, description="Wall time after which a silent source no longer holds up the watermark."
    )
    most_rows: Annotated[int, Field(gt=0)] = Field(
        default=2_000_000,
        description="From so many rows in memory on, streams that are ahead wait for the others; a row takes 100 to 200 bytes.",
    )
    on_lost: Literal["earliest", "latest", "stop"] = Field(
        default="earliest",
        description="Where messages are gone that were not read yet: go on at the first that is left, at the end, or not at all.",
    )
    keep_panes_days: Annotated[int, Field(gt=0)] | None = Field(
        default=100,
        description="Days of event time for which panes are kept once they are in the sums of hours or days; `null`: for ever.",
    )
    keep_hours_days: Annotated[int, Field(gt=0)] | None = Field(
        default=None,
        description="Days for which sums of hours are kept, where panes are shorter; for ever by default. Those of days stay.",
    )
    keep_verdicts_days: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="Days of event time for which verdicts are kept; for ever by default."
    )
    ahead_seconds: Annotated[float, Field(ge=0)] = Field(
        default=600.0, description="How far an event may be ahead of the clock; beyond that its time is out of range."
    )
    earliest: Annotated[float, Field(allow_inf_nan=False)] = Field(
        default=946_684_800.0,
        description="Event time before which nothing can have happened (Unix seconds, 2000 by default): out of range.",
    )
    scale: Literal["real", "probability"] = Field(
        default="probability", description="Scores anywhere, or in 0 to 1 and crowding at its ends."
    )
    unit: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="The size of a large difference between two scores; sums are kept in parts of it."
    )
    champion: str = Field(default="", description="The model that answers; a control record `champion` overrides it.")
    canary: str = Field(default="", description="The canary's name; found on the canary stream by default.")
    rules: Path | None = Field(default=None, description="The folder of rules; the starter set by default.")
    references: list[Path] = Field(
        default_factory=list, description="Frozen references, used in place of the trailing ones the rules name."
    )
    judge_from: float | None = Field(
        default=None, description="Event time before which panes are only reference (Unix seconds)."
    )
    mappings: dict[str, Mapping] = Field(default_factory=dict, description="Foreign streams, by the name of ours.")
    features: dict[_Name, Feature] = Field(
        default_factory=dict, description="Inputs that are watched like scores, by name."
    )
    segments: dict[_Name, Segment] = Field(
        default_factory=dict, description="Dimensions by which the models are looked at in parts, by name."
    )
    watchdog_seconds: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="How often an alert says that the judge works, so that its absence is noticed; or never.",
    )
    webhook: str | None = Field(
        default=None, description="Where alerts are posted: short for a sink `webhook` of that kind."
    )
    webhook_secret: SecretStr | None = Field(
        default=None, description="The key that signs what goes to `webhook`; without it nothing is signed there."
    )
    alert_log: Path | None = Field(
        default=None, description="A file of JSON lines with every alert: short for a sink `log` of that kind."
    )
    sinks: dict[_Name, _Sink] = Field(default_factory=dict, description="Receivers of alerts, by name.")
    dashboard_url: str | None = Field(
        default=None, description="Where people find the dashboard: alerts carry a link to it at their time."
    )
    runbook_url: str | None = Field(
        default=None, description="Where people read what to do; `{rule}` in it becomes the rule's name."
    )

    @field_validator("sinks")
    @classmethod
    def _not_taken(cls, sinks: dict[str, Any]) -> dict[str, Any]:
        for name in sinks:
            if name in _SHORT:
                raise ValueError(
                    f"{name!r} is what the setting `{_SHORT[name]}` is called as a sink: name it otherwise"
                )
        return sinks

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what the caller gives and the environment; `load_settings` puts the file below them."""
        del settings_cls, dotenv_settings, file_secret_settings
        return init_settings, env_settings


def load_settings(path: Path | None = None, **given: Any) -> Settings:
    """Gather the settings.

    Parameters
    ----------
    path
        A YAML file; ``birdwatch.yaml`` in the working directory is used when it is there.
    given
        What the command line says; None means not said.

    Raises
    ------
    SettingsError
        The file cannot be read, or a setting is unknown or wrong; the message names the file, the setting and, for a
        misspelt one, its nearest neighbour.
    """
    chosen = path or Path("birdwatch.yaml")
    from_file: dict[str, Any] = {}
    if path is not None or chosen.exists():
        try:
            from_file = yaml.safe_load(chosen.read_text()) or {}
        except yaml.YAMLError as error:
            raise SettingsError(f"{chosen} cannot be read as settings: {_yaml_fault(error)}") from None
        except OSError as error:
            raise SettingsError(f"{chosen} cannot be read as settings: {error}") from error
    if not isinstance(from_file, dict):
        raise SettingsError(f"{chosen} holds {type(from_file).__name__}, not settings: write `name: value` lines")
    said = {name: value for name, value in given.items() if value is not None}
    try:
        in_environment = Settings().model_fields_set
        below = {name: value for name, value in from_file.items() if name not in in_environment}
        return Settings(**{**below, **said})
    except ValidationError as error:
        raise SettingsError(_explain(error, chosen if from_file else None)) from error
    except _NotRead as error:  # its causes hold the text, secrets included
        raise SettingsError(f"{error}: an environment variable of names and values holds JSON") from None


def _yaml_fault(error: yaml.YAMLError) -> str:
    """Say what is wrong and where, without the line itself: it may hold a secret."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or type(error).__name__
    said = re.sub(r"'[^']{2,}'", "'…'", str(problem))
    return f"line {mark.line + 1}, column {mark.column + 1}: {said}" if mark else said


def _explain(error: ValidationError, path: Path | None) -> str:
    place = f"{path}: " if path else ""
    lines = []
    for fault in error.errors():
        where = list(fault["loc"])
        secret = where[:1] in (["sinks"], ["webhook"], ["webhook_secret"])
        if where[:1] == ["sinks"] and len(where) > 3:
            del where[2]  # the kind, which nobody wrote there
        name = ".".join(str(part) for part in where)
        if fault["type"] == "extra_forbidden":
            known = [
                field for model in (Settings, Mapping, Feature, Segment, *SINK_KINDS) for field in model.model_fields
            ]
            near = difflib.get_close_matches(str(where[-1]), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(Settings.model_fields)}"
            lines.append(f"{place}unknown setting {name!r}: {hint}")
        elif fault["type"] == "union_tag_not_found":
            kinds = ", ".join(kind.__name__.removesuffix("Sink").lower() for kind in SINK_KINDS)
            lines.append(f"{place}{name}: say in `kind` what it is: {kinds}")
        elif secret:
            lines.append(f"{place}{name}: {fault['msg'].removeprefix('Value error, ')}")
        else:
            lines.append(f"{place}{name} = {fault['input']!r}: {fault['msg']}")
    return "\n".join(lines)
