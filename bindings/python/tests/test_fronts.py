"""asyncio, lazy frames of polars, DB-API, and the examples of the documentation."""

from __future__ import annotations

import asyncio
import datetime as dt
import doctest
import pathlib

import polars as pl
import pyarrow as pa
import pytest

import pillion
import pillion.aio
import pillion.dbapi
from conftest import FLIGHTS, Sidecar
from pillion import _polars


def test_asyncio_has_the_same_calls(sidecar: Sidecar, tmp_path: pathlib.Path) -> None:
    async def use(cache: pillion.aio.Cache) -> None:
        async with cache:
            flights = await cache.create_table("flights", FLIGHTS, primary_key=["carrier", "flight"])
            row = await flights.get(("UA", 1545))
            assert row is not None and row["delay"] == 2.0
            assert (await flights.get_many([("UA", 0)])).missing == [0]
            answer = await cache.sql("SELECT count(*) AS n FROM flights WHERE carrier = $1", ["UA"])
            assert await answer.to_pylist() == [{"n": 2}]
            prepared = await cache.prepare("SELECT count(*) AS n FROM flights")
            async with await cache.snapshot() as snapshot:
                since = await cache.version()
                await flights.delete(("UA", 1545))
                assert await (await snapshot.sql("SELECT count(*) AS n FROM flights")).to_pylist() == [{"n": 3}]
                assert await (await prepared.execute()).to_pylist() == [{"n": 2}]
            assert await (await flights.changes(since)).to_pylist() != []
            async for batch in await flights.subscribe(since):
                assert batch.column("_change") == ["delete"]
                break
            total = 0
            async for batch in await flights.scan(["flight"]):
                total += len(batch)
            assert total == 2 == (await flights.info()).rows
            answer = await flights.scan()
            assert sum([len(batch) async for batch in answer]) == 2
            assert [batch async for batch in answer] == [], "it is read once"
            assert (await cache.status()).way == cache.way
            assert (await cache.execute("DELETE FROM flights WHERE carrier = $1", ["AA"])).rows == 1
            assert (await cache.sql("SELECT 1")).certificate.is_complete
            await cache.drop_table("flights")
        with pytest.raises(pillion.ClosedError):
            await cache.tables()

    async def main() -> None:
        await use(await pillion.aio.open(tmp_path / "own"))
        for attach in ("require", "never"):
            await use(await pillion.aio.connect(sidecar.socket, attach=attach))

    asyncio.run(main())


def test_a_task_that_is_cancelled_ends_its_query(embedded: pillion.Cache) -> None:
    embedded.create_table("t", pa.table({"id": range(5000)}), primary_key="id")

    async def main() -> None:
        cache = pillion.aio.Cache(embedded)
        answer = await cache.sql("SELECT count(*) FROM t a, t b, t c, t d, t e WHERE a.id + b.id + c.id + d.id + e.id = -1")
        task = asyncio.create_task(answer.read_all())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await (await cache.sql("SELECT 1 AS n")).to_pylist() == [{"n": 1}]

    asyncio.run(main())


@pytest.fixture
def many(cache: pillion.Cache) -> pillion.Table:
    day = dt.date(2013, 1, 1)
    rows = {
        "id": range(1000),
        "carrier": ["UA", "AA", "B6", None] * 250,
        "x": [None if row % 7 == 0 else float("nan") if row % 11 == 0 else row / 4 for row in range(1000)],
        "day": [day + dt.timedelta(days=row % 30) for row in range(1000)],
        "flag": [row % 2 == 0 for row in range(1000)],
        'odd "name"': range(1000),
    }
    return cache.create_table("many", pa.table(rows), primary_key="id")


CONDITIONS = [
    pl.col("id") == 7,
    pl.col("id") > 990,
    (pl.col("id") < 10) & (pl.col("carrier") == "UA"),
    (pl.col("id") < 10) | (pl.col("id") >= 995),
    (pl.col("id") < 100) & pl.col("carrier").is_null(),
    (pl.col("carrier") != "UA") & (pl.col("id") <= 50),
    pl.col("x") < 3.0,
    pl.col("x") > 240.0,
    pl.col("x") != 3.0,
    pl.col("x").is_nan(),
    pl.col("day") == dt.date(2013, 1, 5),
    pl.col("flag"),
    pl.col("flag") == True,  # noqa: E712 - a condition of polars
    pl.lit(5) > pl.col("id"),
    pl.col('odd "name"') == 3,
    pl.col("id").is_in([1, 2, 3]),
    pl.col("carrier").str.starts_with("U") & (pl.col("id") < 20),
    pl.col("id") == 2**62,
    pl.col("id") < 3.5,
]


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_a_lazy_frame_has_the_rows_of_the_whole_frame(condition: pl.Expr, many: pillion.Table) -> None:
    lazy, whole = many.to_polars(lazy=True), many.to_polars()
    expected = whole.filter(condition)
    assert lazy.filter(condition).collect().sort("id").equals(expected.sort("id"))
    assert sorted(lazy.filter(condition).select("carrier").collect().rows(), key=str) == sorted(
        expected.select("carrier").rows(), key=str
    )
    assert lazy.filter(condition).head(3).collect().height == min(3, expected.height)


def test_a_lazy_frame_pushes_conditions_down(many: pillion.Table) -> None:
    schema = many.to_polars().schema
    pushed = []
    for condition in CONDITIONS[:6]:
        params: list[object] = []
        pushed.append((_polars._pushed(condition, schema, params), params))
    assert pushed[0] == ('"id" = $1', [7])
    assert pushed[3] == ('("id" < $1) OR ("id" >= $2)', [10, 995])
    assert pushed[4] == ('("id" < $1)', [100]), "the side that SQL has is pushed"
    assert all(text is not None for text, _ in pushed)
    assert _polars._pushed(pl.col("x") > 1.0, schema, []) is None, "a NaN is above all floats in polars"
    lazy = many.to_polars(lazy=True)
    assert lazy.collect_schema() == schema
    many.truncate()
    assert lazy.collect().height == 0, "each run reads the newest version"


def test_db_api_changes_tables(cache: pillion.Cache, flights: pillion.Table) -> None:
    with pillion.dbapi.connect(cache) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO flights VALUES (?, ?, ?, ?)", ["B6", 1, 0.5, "JFK"])
        assert (cursor.rowcount, cursor.description) == (1, None)
        with pytest.raises(pillion.dbapi.Error):
            cursor.fetchone()
        cursor.executemany("UPDATE flights SET delay = ? WHERE carrier = ?", [(1.0, "UA"), (2.0, "B6"), (3.0, "XX")])
        assert cursor.rowcount == 3
        cursor.execute("SELECT flight, delay FROM flights WHERE delay IS NOT NULL ORDER BY flight")
        assert (cursor.rowcount, cursor.fetchall()) == (-1, [(1, 2.0), (1545, 1.0), (1714, 1.0)])
        connection.commit()


def test_db_api_reads(cache: pillion.Cache, flights: pillion.Table) -> None:
    with pillion.dbapi.connect(cache) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT flight, '?' AS q FROM flights WHERE carrier = ? ORDER BY flight", ("UA",))
        assert [column[0] for column in cursor.description or []] == ["flight", "q"]
        assert cursor.fetchone() == (1545, "?")
        assert cursor.fetchmany(5) == [(1714, "?")]
        assert (cursor.fetchone(), cursor.fetchall()) == (None, [])
        assert list(cursor.execute("SELECT count(*) FROM flights")) == [(3,)]
        connection.commit()
        with pytest.raises(pillion.dbapi.ProgrammingError):
            cursor.execute("SELEKT")
        with pytest.raises(pillion.dbapi.Error):
            cursor.fetchone()
    with pytest.raises(pillion.ClosedError):
        cursor.execute("SELECT 1")
    with pytest.raises(pillion.ClosedError):
        connection.cursor()
    assert len(flights) == 3, "a connection leaves a cache open that it did not open"


def test_question_marks_are_parameters_only_where_sql_reads_them() -> None:
    cases = {
        "?": "$1",
        "a = ? AND b = ?": "a = $1 AND b = $2",
        "'it''s ?' = ?": "'it''s ?' = $1",
        '"a?" = ?': '"a?" = $1',
        "? /* ? */ ? -- ?\n?": "$1 /* ? */ $2 -- ?\n$3",
        "'open ?": "'open ?",
        "/* open ?": "/* open ?",
    }
    for text, expected in cases.items():
        assert pillion.dbapi.numbered(text) == expected


def test_the_examples_of_the_documentation_run(tmp_path: pathlib.Path) -> None:
    texts: dict[str, tuple[str, dict[str, object]]] = {}
    for module in (pillion, pillion.aio, pillion.dbapi):
        members = [module, *(member for member in vars(module).values() if callable(member))]
        for member in members:
            if ">>>" in (getattr(member, "__doc__", None) or ""):
                texts[f"{module.__name__}.{getattr(member, '__name__', '')}"] = (member.__doc__, vars(module))
    # Classes of the compiled module.
    for kind in (pillion.Cache, pillion.Table, pillion.Transaction):
        for name, member in [("", kind), *vars(kind).items()]:
            if ">>>" in (getattr(member, "__doc__", None) or ""):
                texts[f"{kind.__name__}.{name}"] = (member.__doc__, {})
    failed, run = 0, 0
    for number, (name, (text, names)) in enumerate(texts.items()):
        directory = tmp_path / str(number)
        if name.startswith("pillion.aio"):
            with pillion.open(directory) as prepared:
                prepared.create_table("flights", FLIGHTS, primary_key=["carrier", "flight"])
        with pillion.open(tmp_path / f"{number}-own") as cache:
            flights = cache.create_table("flights", FLIGHTS, primary_key=["carrier", "flight"])
            shown = {**names, "pillion": pillion, "cache": cache, "flights": flights, "directory": directory}
            test = doctest.DocTestParser().get_doctest(text, shown, name, None, 0)
            result = doctest.DocTestRunner().run(test, clear_globs=True)
            failed, run = failed + result.failed, run + result.attempted
    assert failed == 0 and run >= 12 and len(texts) >= 8, list(texts)
    readme = pathlib.Path(__file__).parent.parent / "README.md"
    blocks = readme.read_text().split("```python\n")[1:]
    assert len(blocks) >= 3
    names = {"directory": str(tmp_path / "readme")}
    for block in blocks:
        exec(compile(block.split("```")[0], str(readme), "exec"), names)
