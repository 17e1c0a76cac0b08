"""DB-API 2.0 (PEP 249), for tools that know nothing else.

>>> import pillion.dbapi
>>> with pillion.dbapi.connect(cache) as connection, connection.cursor() as cursor:
...     cursor.execute("SELECT flight, delay FROM flights WHERE carrier = ? ORDER BY flight", ["UA"]).fetchall()
[(1545, 2.0), (1714, 4.0)]

Every statement that changes tables is a commit of its own. So ``commit`` does nothing, and ``rollback`` does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from . import _errors, _pillion

apilevel = "2.0"
threadsafety = 2
paramstyle = "qmark"

Warning = UserWarning
Error = _errors.Error
InterfaceError = _errors.Error
DatabaseError = _errors.Error
DataError = _errors.RequestError
OperationalError = _errors.RetryError
IntegrityError = _errors.RequestError
InternalError = _errors.ReportError
ProgrammingError = _errors.RequestError
NotSupportedError = _errors.RequestError


def connect(cache: _pillion.Cache | str) -> Connection:
    """A connection to a cache, or to the cache that a URL names. A connection that opened its cache closes it."""
    if isinstance(cache, str):
        return Connection(_pillion.from_url(cache), owns=True)
    return Connection(cache, owns=False)


class Connection:
    """A connection of DB-API."""

    def __init__(self, cache: _pillion.Cache, *, owns: bool) -> None:
        self._cache: _pillion.Cache | None = cache
        self._owns = owns

    def cursor(self) -> Cursor:
        """Another cursor."""
        return Cursor(self._open())

    def commit(self) -> None:
        """Does nothing: every statement is a commit of its own."""
        self._open()

    def close(self) -> None:
        """Closes the connection."""
        if self._cache is not None and self._owns:
            self._cache.close()
        self._cache = None

    def _open(self) -> _pillion.Cache:
        if self._cache is None:
            raise _errors.ClosedError("the connection was closed; connect again", code="Closed", number=503)
        return self._cache

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Cursor:
    """A cursor of DB-API. ``?`` and ``$1`` stand for parameters."""

    arraysize = 1

    def __init__(self, cache: _pillion.Cache) -> None:
        self._cache = cache
        self._answer: _pillion.Answer | None = None
        self._rows: Iterator[tuple[Any, ...]] = iter(())
        self._closed = False
        self.description: list[tuple[str, str, None, None, None, None, None]] | None = None
        self.rowcount = -1

    def execute(self, operation: str, parameters: Sequence[Any] = ()) -> Cursor:
        """Runs a statement. One that changes tables has no rows to fetch, and sets ``rowcount``."""
        self._check()
        self._drop()
        if _pillion._modifies(operation):
            self.rowcount = self._cache.execute(numbered(operation), parameters).rows
            return self
        answer = self._cache.sql(numbered(operation), parameters)
        columns = zip(answer.schema.names, answer.schema.types)
        self.description = [(name, of, None, None, None, None, None) for name, of in columns]
        self._answer = answer
        self._rows = (row for batch in answer for row in batch.to_tuples())
        return self

    def executemany(self, operation: str, parameters: Iterable[Sequence[Any]]) -> Cursor:
        """Runs a statement for each of several parameters: several commits. The rows are those of the last one; ``rowcount`` is
        that of all."""
        self._check()
        rows = 0
        for values in parameters:
            self.execute(operation, values)
            rows += self.rowcount
        self.rowcount = rows if rows > 0 else self.rowcount
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or ``None``."""
        self._executed()
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """The next rows."""
        self._executed()
        wanted = self.arraysize if size is None else size
        return [row for _, row in zip(range(wanted), self._rows)]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        self._executed()
        return list(self._rows)

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """Does nothing, as DB-API allows."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Does nothing, as DB-API allows."""

    def close(self) -> None:
        """Ends the query."""
        self._drop()
        self._closed = True

    def _drop(self) -> None:
        if self._answer is not None:
            self._answer.close()
        self._answer, self._rows, self.description, self.rowcount = None, iter(()), None, -1

    def _check(self) -> None:
        if self._closed:
            raise _errors.ClosedError("the cursor was closed; make another one", code="Closed", number=503)

    def _executed(self) -> None:
        self._check()
        if self._answer is None:
            message = "there is no answer; call execute first"
            raise _errors.InvalidArgumentError(message, code="InvalidArgument", number=100)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        self._executed()
        return self._rows

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def numbered(text: str) -> str:
    """The same statement with ``$1``, ``$2``, … for each ``?`` outside of texts, names and comments.

    >>> numbered("SELECT '?' AS \\"?\\", ? -- ?")
    'SELECT \\'?\\' AS "?", $1 -- ?'
    """
    made, count, at = [], 0, 0
    while at < len(text):
        end = at + 1
        if text[at] in "'\"":
            # A doubled quote begins the next stretch at once, so it needs no case of its own.
            closing = text.find(text[at], at + 1)
            end = len(text) if closing < 0 else closing + 1
        elif text.startswith("--", at):
            line = text.find("\n", at)
            end = len(text) if line < 0 else line + 1
        elif text.startswith("/*", at):
            closing = text.find("*/", at + 2)
            end = len(text) if closing < 0 else closing + 2
        elif text[at] == "?":
            count += 1
            made.append(f"${count}")
            at = end
            continue
        made.append(text[at:end])
        at = end
    return "".join(made)
