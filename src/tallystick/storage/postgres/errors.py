"""psycopg's errors as those of the ports, by what the caller can do about them."""

from __future__ import annotations

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout

from tallystick.ports.errors import (
    PortError,
    StoreBusy,
    StoreOutcomeUnknown,
    StoreUnavailable,
    StoreUnusable,
    UsageOverflow,
)

RETRIED = (errors.SerializationFailure, errors.DeadlockDetected)
"""The server undid the transaction so that another one could go on: the same work may succeed."""


def is_undone(error: psycopg.Error) -> bool:
    """Tell whether the server undid the transaction so that another one could go on.

    One reason has the class of a broken check, but names none: an event was on its way to the
    partition of days that have none of their own, just as its day's was made.
    """
    is_misrouted = isinstance(error, errors.CheckViolation) and not error.diag.constraint_name
    return is_misrouted or isinstance(error, RETRIED)


WAITED_TOO_LONG = (errors.LockNotAvailable, errors.QueryCanceled)
"""Somebody else's transaction, most likely, was in the way for longer than ours waits."""

_ENDED = (  # not the server's usual class for what may pass
    errors.IdleInTransactionSessionTimeout,
    errors.ReadOnlySqlTransaction,  # it is the standby now
    errors.InternalError_,  # what it has no class for: a write beyond a quota, for one
)

_FOR_PEOPLE = (  # a person must change something before it works
    errors.InsufficientPrivilege,
    errors.InvalidAuthorizationSpecification,
    errors.InvalidCatalogName,
    errors.InvalidPassword,
)


def translated(error: psycopg.Error) -> PortError:
    """Return the port's error for one of psycopg's."""
    text = str(error).strip() or type(error).__name__
    if isinstance(error, PoolTimeout):
        return StoreBusy(f"no connection to PostgreSQL is free ({text}); nothing was stored")
    if isinstance(error, errors.NumericValueOutOfRange):
        return UsageOverflow("a sum of usage would leave the range that is added exactly")
    if isinstance(error, errors.TooManyConnections):
        return StoreBusy(f"PostgreSQL takes no more connections ({text}); nothing was stored")
    if isinstance(error, WAITED_TOO_LONG):
        return StoreUnavailable(
            f"PostgreSQL was waited for too long ({text}): somebody else's transaction may hold a "
            "lock; nothing was stored"
        )
    if isinstance(error, _FOR_PEOPLE):
        return StoreUnusable(f"PostgreSQL refused: {text}")
    if isinstance(error, (psycopg.OperationalError, *_ENDED)):
        return StoreUnavailable(f"PostgreSQL could not do it now ({text}); nothing was stored")
    return StoreUnusable(f"PostgreSQL refused: {text}")


def unknown_outcome(error: psycopg.Error | str) -> StoreOutcomeUnknown:
    """Return the error for a commit whose answer never came."""
    return StoreOutcomeUnknown(
        f"the connection to PostgreSQL was lost during a commit ({str(error).strip()}); it may "
        "have been stored: send the same again, and what was stored counts as a duplicate"
    )
