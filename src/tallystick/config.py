"""Settings, from ``tallystick.yaml`` and the environment; the environment wins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints
from urllib.parse import urlsplit, urlunsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIG_FILE = "tallystick.yaml"
PREFIX = "TALLYSTICK_"
POSTGRES_SCHEMES = ("postgresql://", "postgres://")

API_PROCESSES_MAX = 64
"""Processes for requests: more than the one that stores can have work from."""


class ConfigError(ValueError):
    """A setting that cannot be; the message names it and where it came from."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set. In the environment each has the prefix ``TALLYSTICK_``."""

    database_url: str = "sqlite:///tallystick.db"
    """Where everything is kept: ``sqlite:///`` and a path, or ``postgresql://``, user, password,
    host and database as libpq takes them.
    """

    stripe_api_key: str | None = None
    """A secret or restricted key of the Stripe account."""

    stripe_api_base: str | None = None
    """Replaces every address of Stripe's SDK, as with the sandbox; unset: Stripe itself."""

    stripe_rate: int | None = None
    """Calls a second to Stripe; unset: Stripe's published limits for the key's mode."""

    stripe_meter_events: Literal["meter_events", "meter_event_stream"] = "meter_events"
    """How usage of prices with a meter is reported: one event a call, or a hundred by v2's stream.
    """

    webhook_secrets: tuple[str, ...] = ()
    """Signing secrets of the webhook endpoint, several while one is rolled; comma-separated."""

    host: str = "127.0.0.1"
    """Where the API listens."""

    port: int = 8787
    """The port it listens on; 0 takes a free one."""

    api_processes: int = 0
    """Processes that `tallystick serve` takes requests in, beside the one that stores; 0: all of it
    in one process. For SQLite.
    """

    api_key: str | None = None
    """The key that `tallystick import` sends its events with."""

    retention_days: int = 90
    """Days that raw events stay in the database before `tallystick archive run` may move them."""

    archive_folder: str | None = None
    """Where archived days of events are; unset: beside the SQLite file, as its name and `-archive`.
    """

    report_seconds: int = 5
    """Seconds between two rounds of reporting in `tallystick serve`."""

    sweep_seconds: int = 900
    """Seconds between two sweeps over Stripe's events in `tallystick serve`."""

    @property
    def is_postgres(self) -> bool:
        """Whether everything is kept in PostgreSQL, and not in a SQLite file."""
        return self.database_url.startswith(POSTGRES_SCHEMES)

    @property
    def database_name(self) -> str:
        """The database as it is shown to people: the file, or the address without its password."""
        return self.shown_url if self.is_postgres else str(self.sqlite_path())

    @property
    def shown_url(self) -> str:
        """The database's address without its password.

        Raises:
            ConfigError: it is no address.
        """
        if not self.is_postgres:
            return self.database_url
        try:
            parts = urlsplit(self.database_url)
        except ValueError as error:
            raise ConfigError(f"{PREFIX}DATABASE_URL cannot be read: {error}") from error
        user, at, host = parts.netloc.rpartition("@")
        shown = f"{user.partition(':')[0]}{at}{host}"
        return urlunsplit((parts.scheme, shown, parts.path, "", ""))  # a query may hold secrets

    def sqlite_path(self) -> Path:
        """Return the path of the database file.

        Raises:
            ConfigError: the address is not that of a SQLite file.
        """
        scheme, separator, path = self.database_url.partition(":///")
        if scheme != "sqlite" or not separator or not path:
            raise ConfigError(
                f"{PREFIX}DATABASE_URL is {self.shown_url!r}; a file is needed here: sqlite:///PATH"
                if self.is_postgres
                else f"{PREFIX}DATABASE_URL is {self.database_url!r}; sqlite:///PATH and "
                "postgresql://USER:PASSWORD@HOST/DATABASE are what can be used"
            )
        return Path(path)

    def archive_path(self) -> Path:
        """Return the folder of archived events.

        Raises:
            ConfigError: it is not set, and the database is no file that it could lie beside.
        """
        if self.archive_folder is not None:
            return Path(self.archive_folder)
        if self.is_postgres:
            raise ConfigError(
                f"{PREFIX}ARCHIVE_FOLDER is not set; with PostgreSQL the archive needs a folder "
                "of its own, which every server can read"
            )
        path = self.sqlite_path()
        return path.with_name(path.name + "-archive")


SECRETS = frozenset({"stripe_api_key", "webhook_secrets", "api_key"})
"""Settings that are never printed."""


def load_settings(
    environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Settings:
    """Return the settings in force.

    Raises:
        ConfigError: naming the first setting that is wrong.
    """
    environ = os.environ if environment is None else environment
    path = (folder or Path.cwd()) / CONFIG_FILE
    file_values = _from_file(path) if path.exists() else {}
    environment_values = _from_environment(environ)
    for name, value in file_values.items():
        _check_value(f"{path}: {name}", name, value)
    for name, value in environment_values.items():
        _check_value(PREFIX + name.upper(), name, value)
    settings = msgspec.convert({**file_values, **environment_values}, Settings, strict=False)
    _check(settings)
    return settings


def _from_file(path: Path) -> dict[str, Any]:
    import yaml  # the client's installation has no YAML, and needs no file

    try:
        loaded = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"{path} is not valid YAML: {why}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, Mapping):
        raise ConfigError(f"{path}: settings with their values are needed, like `port: 8787`")
    return {str(name): value for name, value in loaded.items()}


def _check_value(shown_name: str, name: str, value: object) -> None:
    """Refuse a setting that there is none of, or a value that is not of its kind."""
    if name not in Settings.__struct_fields__:
        close = get_close_matches(name, Settings.__struct_fields__, 1)
        meant = f"; {close[0]} is meant, perhaps" if close else "; docs/reference.md lists them"
        raise ConfigError(f"{shown_name}: there is no such setting{meant}")
    kind = get_type_hints(Settings)[name]
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        shown = "not such a value" if name in SECRETS else repr(value)
        raise ConfigError(f"{shown_name} is {shown}; {_needed(kind)}") from None


def _needed(kind: Any) -> str:
    """Return what a setting takes, for people."""
    if kind is int or int in get_args(kind):
        return "a whole number is needed"
    if kind == tuple[str, ...]:
        return "a list of texts is needed"
    choices = get_args(kind)
    if choices and all(isinstance(choice, str) for choice in choices):
        return f"it can be {' or '.join(choices)}"
    return "a text is needed"


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in Settings.__struct_fields__:
        value = environ.get(PREFIX + name.upper(), "").strip()
        if value:
            found[name] = _listed(value) if name == "webhook_secrets" else value
    return found


def _listed(value: str) -> Sequence[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _check(settings: Settings) -> None:
    if settings.stripe_rate is not None and settings.stripe_rate < 1:
        raise ConfigError(f"{PREFIX}STRIPE_RATE is {settings.stripe_rate}; 1 is the least")
    if not 0 <= settings.port <= 65_535:
        raise ConfigError(f"{PREFIX}PORT is {settings.port}; 0 to 65535 are ports")
    if not 0 <= settings.api_processes <= API_PROCESSES_MAX:
        raise ConfigError(
            f"{PREFIX}API_PROCESSES is {settings.api_processes}; 0 to {API_PROCESSES_MAX} can be"
        )
    if settings.retention_days < 1:
        raise ConfigError(f"{PREFIX}RETENTION_DAYS is {settings.retention_days}; 1 is the least")
    if settings.report_seconds < 1:
        raise ConfigError(f"{PREFIX}REPORT_SECONDS is {settings.report_seconds}; 1 is the least")
    if settings.sweep_seconds < 1:
        raise ConfigError(f"{PREFIX}SWEEP_SECONDS is {settings.sweep_seconds}; 1 is the least")
    base = settings.stripe_api_base
    if base is not None and not base.startswith(("http://", "https://")):
        raise ConfigError(f"{PREFIX}STRIPE_API_BASE is {base!r}; http:// or https:// comes first")
    _ = settings.database_name  # whoever asks for it is told what is wrong with the address
