"""A program that mypy and pyright check and nobody runs: the types that users see."""

from __future__ import annotations

import datetime
from typing import Any

from typing_extensions import assert_type

import pillion
import pillion.aio
import pillion.dbapi


def blocking(cache: pillion.Cache) -> None:
    table = cache.create_table("t", [{"id": 1}], primary_key="id", retain=("at", datetime.timedelta(days=1)))
    assert_type(table, pillion.Table)
    row = table.get(1)
    assert_type(row, pillion.Row | None)
    if row is not None:
        assert_type(row["id"], Any)
        assert_type(dict(row), dict[str, Any])
        assert_type(row.as_of, datetime.datetime | None)
    for found in table.get_many([1, 2]):
        assert_type(found, pillion.Row | None)
    with cache.sql("SELECT $1", [1]) as answer:
        for batch in answer:
            assert_type(batch, pillion.Batch)
        assert_type(answer.to_tuples(), list[tuple[Any, ...]])
        assert_type(answer.certificate.is_complete, bool)
    assert_type(cache.execute("DELETE FROM t WHERE id = $1", [1]), pillion.Executed)
    assert_type(table.upsert(answer), pillion.Version)
    assert_type(table.append(["a.parquet", "b.parquet"]), pillion.Version)
    assert_type(table.replace(pillion.files("*.csv", delimiter=";")), pillion.Version)
    with cache.transaction() as transaction:
        transaction.delete(table, [1])
    assert_type(transaction.version, pillion.Version | None)
    for changes in table.subscribe():
        assert_type(changes, pillion.Batch)
    try:
        cache["nope"]
    except pillion.TableNotFoundError as error:
        assert_type(error.hint, str)
    assert_type(pillion.dbapi.connect(cache).cursor().fetchall(), list[tuple[Any, ...]])


async def waiting() -> None:
    async with await pillion.aio.connect("unix:/run/pillion.sock", attach="never") as cache:
        table = await cache.table("t")
        assert_type(await table.get(1), pillion.Row | None)
        async for batch in await table.scan():
            assert_type(batch, pillion.Batch)


def wrong(cache: pillion.Cache) -> None:
    cache.table(7)  # type: ignore[arg-type]
    cache["t"].changes("newest")  # type: ignore[arg-type]
    pillion.open("dir", query_memroy=1)  # type: ignore[call-arg]
    pillion.connect("s", attach="maybe")  # type: ignore[arg-type]
    cache["t"].append(7)  # type: ignore[arg-type]
    cache.create_table_from_source("t", "s", table="t", on_miss="maybe")  # type: ignore[arg-type]
