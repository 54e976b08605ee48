"""Instants: integer microseconds since 1970 in UTC, and their RFC 3339 spelling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_datetime(moment: datetime) -> int:
    """Return the instant of an aware datetime, exactly: ``timestamp()`` is a float."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND_US + since.microseconds


def to_datetime(at: int) -> datetime:
    """Return the instant as an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=at)


def from_seconds(seconds: int) -> int:
    """Return the instant of a Unix time in seconds, as Stripe gives it."""
    return seconds * SECOND_US


def to_seconds(at: int) -> int:
    """Return the Unix time in whole seconds that holds the instant."""
    return at // SECOND_US


def parse_instant(text: str) -> int:
    """Return the instant of an RFC 3339 time or of a date (its midnight in UTC).

    Raises:
        ValueError: the text is neither, or is a time without an offset.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither an RFC 3339 time nor a date") from None
    if moment.tzinfo is None:
        if len(text) > len("2015-05-17"):
            raise ValueError(f"{text!r} has no offset: write it as {text}Z if it is UTC")
        moment = moment.replace(tzinfo=UTC)
    return from_datetime(moment)


def format_instant(at: int) -> str:
    """Return the instant in RFC 3339, in UTC, with microseconds only where there are any."""
    return to_datetime(at).isoformat().replace("+00:00", "Z")
