"""The same cache for asyncio: whatever waits is done on threads, so the event loop goes on.

>>> import asyncio, pillion.aio
>>> async def delay():
...     async with await pillion.aio.open(directory) as cache:
...         flights = await cache.table("flights")
...         row = await flights.get(("UA", 1545))
...         return row["delay"]
>>> asyncio.run(delay())
2.0

A lookup in a cache that is embedded or attached is a function call, so :meth:`Table.get` does it at once; a remote one waits on a
thread. A task that is cancelled while it reads an answer ends its query. One that still waits for the first rows of a remote
cache goes on without them: the query ends when they come.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from typing import Any, TypeVar

from . import _pillion
from ._pillion import Batch, Certificate, Executed, Row, Rows, Schema, Status, TableInfo, Version

__all__ = ["Answer", "Cache", "Prepared", "Snapshot", "Subscription", "Table", "connect", "from_url", "open", "open_read_only"]

_T = TypeVar("_T")


def _executor() -> ThreadPoolExecutor:
    # Most of these threads wait for a sidecar, so there may be many more than processors.
    return ThreadPoolExecutor(max_workers=64, thread_name_prefix="pillion-aio")


_THREADS = _executor()


def _forked() -> None:
    # A child of a fork has none of the threads of its parent, and its executor would wait for them.
    global _THREADS
    _THREADS = _executor()


os.register_at_fork(after_in_child=_forked)


async def _run(call: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, functools.partial(call, *args, **kwargs))


async def open(dir: str | PathLike[str], **options: Any) -> Cache:
    """As :func:`pillion.open`."""
    return Cache(await _run(_pillion.open, dir, **options))


async def open_read_only(dir: str | PathLike[str], **options: Any) -> Cache:
    """As :func:`pillion.open_read_only`."""
    return Cache(await _run(_pillion.open_read_only, dir, **options))


async def connect(socket: str | PathLike[str], **options: Any) -> Cache:
    """As :func:`pillion.connect`."""
    return Cache(await _run(_pillion.connect, socket, **options))


async def from_url(url: str) -> Cache:
    """As :func:`pillion.from_url`."""
    return Cache(await _run(_pillion.from_url, url))


class Cache:
    """A :class:`pillion.Cache` for asyncio."""

    def __init__(self, cache: _pillion.Cache) -> None:
        self.blocking = cache

    @property
    def way(self) -> str:
        """How the cache is reached."""
        return self.blocking.way

    async def status(self) -> Status:
        """The state of the cache as a whole."""
        return await _run(self.blocking.status)

    async def version(self) -> Version:
        """The newest version."""
        return await _run(self.blocking.version)

    async def table(self, name: str) -> Table:
        """A table by its exact name."""
        return Table(self, await _run(self.blocking.table, name))

    async def tables(self) -> list[TableInfo]:
        """Describes every table."""
        return await _run(self.blocking.tables)

    async def create_table(self, name: str, rows: Any, **rules: Any) -> Table:
        """As :meth:`pillion.Cache.create_table`."""
        return Table(self, await _run(self.blocking.create_table, name, rows, **rules))

    async def drop_table(self, name: str) -> Version:
        """Removes a table and its rows."""
        return await _run(self.blocking.drop_table, name)

    async def sql(self, text: str, params: Iterable[Any] | None = None) -> Answer:
        """As :meth:`pillion.Cache.sql`. A remote cache answers with the first rows; if the task is cancelled before, the query ends
        when they come."""
        return Answer(await _run(self.blocking.sql, text, params))

    async def execute(self, text: str, params: Iterable[Any] | None = None) -> Executed:
        """As :meth:`pillion.Cache.execute`. A statement whose task is cancelled goes on."""
        return await _run(self.blocking.execute, text, params)

    async def prepare(self, text: str) -> Prepared:
        """As :meth:`pillion.Cache.prepare`."""
        return Prepared(await _run(self.blocking.prepare, text))

    async def snapshot(self) -> Snapshot:
        """As :meth:`pillion.Cache.snapshot`."""
        return Snapshot(await _run(self.blocking.snapshot))

    async def refresh(self, table: str) -> Version:
        """Refreshes a table from its source now, and waits. If the task is cancelled, the refresh is given up."""
        try:
            return await _run(self.blocking.refresh, table)
        except asyncio.CancelledError:
            await asyncio.shield(_run(self.blocking.cancel_refresh, table))
            raise

    async def compact(self) -> None:
        """Moves all rows from the log into sorted files now."""
        await _run(self.blocking.compact)

    async def sync(self) -> None:
        """Makes every commit so far durable."""
        await _run(self.blocking.sync)

    async def close(self) -> None:
        """Closes the cache."""
        await _run(self.blocking.close)

    async def __aenter__(self) -> Cache:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


class Table:
    """A :class:`pillion.Table` for asyncio."""

    def __init__(self, cache: Cache, table: _pillion.Table) -> None:
        self.blocking = table
        self._is_local = cache.way != "remote"

    @property
    def name(self) -> str:
        """Its name."""
        return self.blocking.name

    @property
    def schema(self) -> Schema:
        """Its columns."""
        return self.blocking.schema

    async def info(self) -> TableInfo:
        """Describes the table as it is now."""
        return await _run(self.blocking.info)

    async def get(self, key: Any) -> Row | None:
        """The row with a primary key, or ``None``."""
        if self._is_local:
            return self.blocking.get(key)
        return await _run(self.blocking.get, key)

    async def get_many(self, keys: Any) -> Rows:
        """The rows with some primary keys, in the order of the keys."""
        return await _run(self.blocking.get_many, keys)

    async def scan(self, columns: Sequence[str] | None = None) -> Answer:
        """All rows, with all columns or some."""
        return Answer(await _run(self.blocking.scan, columns))

    async def append(self, rows: Any) -> Version:
        """Adds rows in one commit."""
        return await _run(self.blocking.append, rows)

    async def upsert(self, rows: Any) -> Version:
        """Adds rows, replacing those with the same primary keys, in one commit."""
        return await _run(self.blocking.upsert, rows)

    async def replace(self, rows: Any) -> Version:
        """Replaces all rows in one commit."""
        return await _run(self.blocking.replace, rows)

    async def delete(self, key: Any) -> Version:
        """Removes the row with a primary key in one commit."""
        return await _run(self.blocking.delete, key)

    async def delete_many(self, keys: Any) -> Version:
        """Removes the rows with some primary keys in one commit."""
        return await _run(self.blocking.delete_many, keys)

    async def truncate(self) -> Version:
        """Removes all rows in one commit."""
        return await _run(self.blocking.truncate)

    async def changes(self, since: Version) -> Answer:
        """What commits changed after a version."""
        return Answer(await _run(self.blocking.changes, since))

    async def wait_for(self, position: str | bytes, limit: float) -> Version:
        """As :meth:`pillion.Table.wait_for`."""
        return await _run(self.blocking.wait_for, position, limit)

    async def subscribe(self, since: Version | None = None) -> Subscription:
        """Changes as they are committed."""
        return Subscription(await _run(self.blocking.subscribe, since))


class Answer:
    """A :class:`pillion.Answer` for asyncio: an asynchronous iterator of batches."""

    def __init__(self, answer: _pillion.Answer) -> None:
        self.blocking = answer

    @property
    def schema(self) -> Schema:
        """Its columns."""
        return self.blocking.schema

    @property
    def version(self) -> Version:
        """The version of the cache that is read."""
        return self.blocking.version

    @property
    def certificate(self) -> Certificate:
        """Whether the answer has all rows that the sources of its tables would have given, and what shows it."""
        return self.blocking.certificate

    async def read_all(self) -> Batch:
        """All rows. If the task is cancelled, the query ends."""
        return await self._ending(self.blocking.read_all)

    async def to_pylist(self) -> list[dict[str, Any]]:
        """All rows as dicts."""
        return (await self.read_all()).to_pylist()

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self._batches()

    async def _batches(self) -> AsyncIterator[Batch]:
        while (batch := await self._ending(next, self.blocking, None)) is not None:
            yield batch

    async def _ending(self, call: Callable[..., _T], *args: Any) -> _T:
        try:
            return await _run(call, *args)
        except asyncio.CancelledError:
            self.blocking.cancel()
            raise


class Prepared:
    """A :class:`pillion.Prepared` for asyncio."""

    def __init__(self, prepared: _pillion.Prepared) -> None:
        self.blocking = prepared

    async def execute(self, params: Iterable[Any] | None = None) -> Answer:
        """Runs it at the newest version."""
        return Answer(await _run(self.blocking.execute, params))


class Snapshot:
    """A :class:`pillion.Snapshot` for asyncio."""

    def __init__(self, snapshot: _pillion.Snapshot) -> None:
        self.blocking = snapshot

    async def sql(self, text: str, params: Iterable[Any] | None = None) -> Answer:
        """Runs a query at this version."""
        return Answer(await _run(self.blocking.sql, text, params))

    async def __aenter__(self) -> Snapshot:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await _run(self.blocking.close)


class Subscription:
    """A :class:`pillion.Subscription` for asyncio: an asynchronous iterator of changes."""

    def __init__(self, subscription: _pillion.Subscription) -> None:
        self.blocking = subscription

    @property
    def version(self) -> Version:
        """The version up to which all changes were handed out."""
        return self.blocking.version

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Batch:
        while True:
            # Short, so that a task that is cancelled leaves no thread that waits.
            batch = await _run(self.blocking.next, 0.25)
            if batch is not None:
                return batch
