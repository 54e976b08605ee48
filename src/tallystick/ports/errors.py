"""What can go wrong at a port, by what the caller should do about it."""

from __future__ import annotations


class PortError(Exception):
    """A failure behind a port. ``code`` is stable; the message says what happened."""

    code = "port_error"


class StoreUnavailable(PortError):
    """The store could not do it now; nothing was stored, and the same call may succeed later."""

    code = "store_unavailable"


class StoreOutcomeUnknown(StoreUnavailable):
    """The store was lost while it committed: all of it was stored, or nothing; repeat the same."""

    code = "store_outcome_unknown"


class StoreBusy(StoreUnavailable):
    """More work is waiting than the store takes: slow down and repeat."""

    code = "store_busy"


class StoreUnusable(PortError):
    """The store is not one that this version can work with; repeating does not help."""

    code = "store_unusable"


class UsageOverflow(PortError):
    """A sum would leave the range that the store adds exactly; nothing was stored."""

    code = "usage_overflow"


class AlreadyLinked(PortError):
    """The customer, or the Stripe customer, is linked to another one."""

    code = "already_linked"


class LeaseLost(PortError):
    """Another worker took the report over: its outcome is not this worker's to write."""

    code = "lease_lost"


class StripeUnreachable(PortError):
    """Stripe did not answer, or answered that it cannot now."""

    code = "stripe_unreachable"


class StripeRefused(PortError):
    """Stripe answered that the request is wrong; repeating it does not help."""

    code = "stripe_refused"


class StripeKeyRefused(StripeRefused):
    """Stripe refused the key, or what it may do: the same for whatever is asked next."""

    code = "stripe_key_refused"


class WrongAccount(PortError):
    """The key belongs to another Stripe account or mode than this database."""

    code = "wrong_account"


class ArchiveDamaged(StoreUnusable):
    """A file of the archive is missing, or is not what was written; the message names it."""

    code = "archive_damaged"


class ArchiveUnavailable(StoreUnavailable):
    """The archive could not be written now; nothing changed, and it may succeed later."""

    code = "archive_unavailable"


class ArchiveTaken(PortError):
    """Another run archives at the same time, or was faster."""

    code = "archive_taken"


class SourceInUse(PortError):
    """A database that is to move is used by somebody: stop that first."""

    code = "source_in_use"


class TargetInUse(PortError):
    """The database that another one is to move into has something else in it."""

    code = "target_in_use"
