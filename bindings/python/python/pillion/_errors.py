"""Exceptions of the cache: a hierarchy by what the caller can do."""

from __future__ import annotations

import builtins


class Error(Exception):
    """Something that Pillion could not do.

    Its class is an order to the caller, ``code`` names the failure and never changes, ``hint`` says what to do, and ``causes``
    are the errors below it, the nearest first.
    """

    kind = "report"

    def __init__(self, message: str, *, code: str = "Internal", number: int = 600, causes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.number = number
        self.causes = causes

    @property
    def hint(self) -> str:
        """What to do about it."""
        return HINTS.get(self.code) or KINDS[self.kind][1]

    def __str__(self) -> str:
        causes = "".join(f": {cause}" for cause in self.causes)
        return f"{self.message}{causes}"

    def __reduce__(self) -> tuple[object, ...]:
        return make, (self.number, self.code, self.kind, self.message, list(self.causes))


class RetryError(Error):
    """Nothing was changed and the same call can succeed later: wait, free the named resource, try again."""

    kind = "retry"


class RequestError(Error):
    """The request itself is wrong: change the query, the key, the definition or the rows."""

    kind = "request"


class SourceError(Error):
    """The source or the input file is missing, down or damaged; what the cache holds goes on serving."""

    kind = "source"


class OutcomeUnknownError(Error):
    """The call may or may not have taken effect: read before repeating it."""

    kind = "outcome_unknown"


class ReopenError(Error):
    """This handle can no longer do that: open the cache again."""

    kind = "reopen"


class ReportError(Error):
    """Damage or a defect: keep the directory and report it."""

    kind = "report"


class TableNotFoundError(RequestError, LookupError):
    """There is no table of that name."""


class ColumnNotFoundError(RequestError, KeyError):
    """There is no column of that name or position."""

    __str__ = Error.__str__


class InvalidKeyError(RequestError, ValueError):
    """The key has the wrong number of parts, or a part of the wrong type."""


class InvalidArgumentError(RequestError, ValueError):
    """An argument is out of range or contradicts another."""


class TypeMismatchError(RequestError, TypeError):
    """A value was read as a type that it does not have."""


class NotCoveredError(RequestError):
    """The table is a working set, and the read may need rows of its source that it does not hold."""


class TimeoutError(RetryError, builtins.TimeoutError):
    """The deadline of the call passed before its answer came."""

    __str__ = Error.__str__


class CancelledError(RetryError):
    """The query was cancelled before its answer was complete."""


class ClosedError(ReopenError):
    """The cache was closed, or this process is a fork of the one that opened it."""


# The class of each kind, and what to do if the code does not say more.
KINDS: dict[str, tuple[type[Error], str]] = {
    "retry": (RetryError, "nothing was changed: try the same call again later"),
    "request": (RequestError, "change the request: the same one fails again"),
    "source": (SourceError, "look at the source or the file; the cache goes on serving what it holds"),
    "outcome_unknown": (OutcomeUnknownError, "read whether the change is there before you repeat it"),
    "reopen": (ReopenError, "open the cache again"),
    "report": (ReportError, "keep the directory of the cache and report this"),
}

# Codes that have a class of their own, because programs handle them on their own.
CLASSES: dict[str, type[Error]] = {
    "TableNotFound": TableNotFoundError,
    "ColumnNotFound": ColumnNotFoundError,
    "InvalidKey": InvalidKeyError,
    "InvalidArgument": InvalidArgumentError,
    "TypeMismatch": TypeMismatchError,
    "NotCovered": NotCoveredError,
    "Timeout": TimeoutError,
    "Cancelled": CancelledError,
    "Closed": ClosedError,
}

HINTS: dict[str, str] = {
    "TableNotFound": "list the tables with cache.tables()",
    "ColumnNotFound": "list the columns with table.schema.names",
    "TableExists": "drop the table first, or define it with the rules that it has",
    "NoPrimaryKey": "create the table with primary_key=…",
    "InvalidKey": "give a value, or a tuple of one value for each column of table.primary_key",
    "DuplicateKey": "upsert the rows, or remove the duplicates",
    "NullKey": "columns of the primary key cannot be None",
    "SchemaMismatch": "give the columns and types of table.schema",
    "ReadOnly": "open the cache with pillion.open, or connect to its sidecar",
    "TypeMismatch": "read the value as Arrow: row.to_arrow(), or scan() and sql()",
    "PermissionDenied": "run as a user that the sidecar lets in",
    "TooLarge": "ask for less at a time",
    "NotCovered": "add the condition that the message names, or ask the source",
    "SourceNotFound": "look at the path or the name",
    "Stale": "wait for a refresh, or define the table with a longer max_staleness",
    "DirectoryLocked": "open it with pillion.open_read_only, or connect to the sidecar that owns it",
    "NewerFormat": "install a newer version of pillion",
    "NotACache": "give another directory",
    "DiskFull": "free space on the disk, or raise disk_limit",
    "MemoryLimit": "ask for less, or open the cache with more query_memory",
    "Timeout": "try again, or connect with a longer deadline",
    "Unavailable": "start the sidecar, or look at its socket",
    "HistoryGone": "read the table anew, and ask for changes since the version of that answer",
    "Closed": "open the cache again, after a fork in the child",
}


def make(number: int, code: str, kind: str, message: str, causes: list[str]) -> Error:
    """The exception of a code."""
    made = CLASSES.get(code) or KINDS[kind][0]
    return made(message, code=code, number=number, causes=tuple(causes))
