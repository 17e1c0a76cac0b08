"""A table cache next to your application: lookups by key in microseconds, SQL, and DataFrames that nobody copied.

>>> import pillion
>>> cache = pillion.open(directory)
>>> flights = cache.create_table(
...     "flights",
...     [
...         {"carrier": "UA", "flight": 1545, "delay": 2.0},
...         {"carrier": "UA", "flight": 1714, "delay": 4.0},
...         {"carrier": "AA", "flight": 1141, "delay": None},
...     ],
...     primary_key=["carrier", "flight"],
... )
>>> flights.get(("UA", 1545))["delay"]
2.0
>>> cache.sql("SELECT carrier, count(*) AS flights FROM flights GROUP BY carrier ORDER BY carrier").to_tuples()
[('AA', 1), ('UA', 2)]

A cache is reached in three ways with the same calls: :func:`open` runs it in this process, :func:`connect` reaches a sidecar and
maps its files where it can, and otherwise asks it.
"""

from __future__ import annotations

import collections.abc as _abc
import os as _os

from . import _pillion
from ._errors import (
    CancelledError,
    ClosedError,
    ColumnNotFoundError,
    Error,
    InvalidArgumentError,
    InvalidKeyError,
    NotCoveredError,
    OutcomeUnknownError,
    ReopenError,
    ReportError,
    RequestError,
    RetryError,
    SourceError,
    TableNotFoundError,
    TimeoutError,
    TypeMismatchError,
)
from ._pillion import (
    Answer,
    Batch,
    Cache,
    Certificate,
    Executed,
    Files,
    Prepared,
    Refresh,
    Row,
    Rows,
    Schema,
    Snapshot,
    SnapshotTable,
    Status,
    Subscription,
    Table,
    TableCertificate,
    TableInfo,
    Transaction,
    Version,
    __version__,
    connect,
    files,
    from_env,
    from_url,
    open,
    open_read_only,
)
from ._zones import Interval

__all__ = [
    "Answer",
    "Batch",
    "Cache",
    "CancelledError",
    "Certificate",
    "ClosedError",
    "ColumnNotFoundError",
    "Error",
    "Executed",
    "Files",
    "Interval",
    "InvalidArgumentError",
    "InvalidKeyError",
    "NotCoveredError",
    "OutcomeUnknownError",
    "Prepared",
    "Refresh",
    "ReopenError",
    "ReportError",
    "RequestError",
    "RetryError",
    "Row",
    "Rows",
    "Schema",
    "Snapshot",
    "SnapshotTable",
    "SourceError",
    "Status",
    "Subscription",
    "Table",
    "TableCertificate",
    "TableInfo",
    "TableNotFoundError",
    "TimeoutError",
    "Transaction",
    "TypeMismatchError",
    "Version",
    "__version__",
    "connect",
    "files",
    "from_env",
    "from_url",
    "open",
    "open_read_only",
]

# Not the sequence of rows, which polars would take row by row and not as Arrow.
_abc.Mapping.register(Row)
# A child of a fork has none of the threads of its parent, so handles that were made before refuse calls there.
_os.register_at_fork(after_in_child=_pillion._forked)
