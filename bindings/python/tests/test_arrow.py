"""Rows go to other libraries and come from them without a copy, and stay as long as someone uses them."""

from __future__ import annotations

import gc
import pathlib
import threading

import duckdb
import nanoarrow as na
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import pillion
from conftest import Sidecar

ROWS = 50_000


def mapped(sidecar_dir: pathlib.Path) -> list[tuple[int, int]]:
    """Where this process maps files of a cache."""
    ranges = []
    for line in pathlib.Path("/proc/self/maps").read_text().splitlines():
        parts = line.split(maxsplit=5)
        if len(parts) == 6 and parts[5].startswith(str(sidecar_dir)):
            start, end = (int(part, 16) for part in parts[0].split("-"))
            ranges.append((start, end))
    return ranges


def addresses(table: pa.Table) -> list[int]:
    """Where the values of a table are: the last buffer of each chunk."""
    return [chunk.buffers()[-1].address for column in table.columns for chunk in column.chunks]


def numbers(cache: pillion.Cache) -> pillion.Table:
    table = pa.table({"id": pa.array(range(ROWS)), "text": pa.array([f"row {row}" for row in range(ROWS)])})
    made = cache.create_table("numbers", table, primary_key="id")
    return made


@pytest.mark.parametrize("way", ["embedded", "attached"])
def test_the_buffers_of_a_scan_are_the_mapped_pages(way: str, sidecar: Sidecar, tmp_path: pathlib.Path) -> None:
    owner = pillion.open(tmp_path / "own") if way == "embedded" else sidecar.connect(attach="require")
    dir = tmp_path / "own" if way == "embedded" else sidecar.dir
    with owner as cache:
        table = numbers(cache)
        if way == "embedded":
            cache.compact()
        else:
            sidecar.connect(attach="never").compact()
        for answer in (table.scan(), cache.sql("SELECT * FROM numbers")):
            got = pa.table(answer)
            ranges = mapped(dir)
            assert ranges and got.num_rows == ROWS
            for address in addresses(got):
                assert any(start <= address < end for start, end in ranges), hex(address)
        # Polars has texts in another layout, so only numbers are compared.
        frame = pl.DataFrame(table.scan(["id"]))
        pointers = [chunk.to_numpy(allow_copy=False).ctypes.data for chunk in frame["id"].get_chunks()]
        assert all(any(start <= pointer < end for start, end in ranges) for pointer in pointers)


def test_buffers_outlive_the_answer_the_table_and_the_cache(cache: pillion.Cache) -> None:
    table = numbers(cache)
    got = pa.table(table.scan())
    row = table[7]
    table.truncate()
    cache.drop_table("numbers")
    cache.close()
    del table
    gc.collect()
    assert got.column("id").to_pylist() == list(range(ROWS))
    assert got.column("text")[ROWS - 1].as_py() == f"row {ROWS - 1}"
    assert row["text"] == "row 7"
    kept = [got]
    del got
    freed = threading.Thread(target=kept.clear)
    freed.start()
    freed.join()


def test_a_dead_sidecar_leaves_buffers_and_rows(sidecar: Sidecar) -> None:
    attached, remote = sidecar.connect(attach="require", deadline=5), sidecar.connect(attach="never", deadline=5)
    table = numbers(attached)
    held = [pa.table(table.scan()), pa.table(remote["numbers"].scan())]
    answer = attached.sql("SELECT * FROM numbers")
    other = remote["numbers"]
    row = other[9]
    sidecar.kill()
    for got in held:
        assert got.column("id").to_pylist() == list(range(ROWS))
    assert row["text"] == "row 9"
    assert len(pa.table(answer)) == ROWS
    assert table[8]["text"] == "row 8"
    with pytest.raises(pillion.RetryError) as caught:
        other.get(1)
    assert caught.value.code in ("Unavailable", "Timeout")
    with pytest.raises(pillion.Error):
        table.upsert([{"id": 1, "text": "new"}])


EXPORTERS = {
    "pyarrow table": lambda rows: rows,
    "pyarrow reader": lambda rows: rows.to_reader(),
    "pyarrow batch": lambda rows: rows.combine_chunks().to_batches()[0],
    "polars": lambda rows: pl.DataFrame(rows),
    "pandas": lambda rows: rows.to_pandas(),
    "duckdb": lambda rows: duckdb.sql("FROM rows"),
    "nanoarrow": lambda rows: na.c_array_stream(rows),
}


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_rows_come_from_whatever_exports_arrow(exporter: str, cache: pillion.Cache) -> None:
    first = pa.table({"id": [1, 2], "text": ["a", "b"], "x": [1.5, None]})
    more = pa.table({"id": [2, 3], "text": ["c", None], "x": [None, 2.5]})
    table = cache.create_table("t", first, primary_key="id")
    table.upsert(EXPORTERS[exporter](more))
    assert sorted(table.scan().to_tuples()) == [(1, "a", 1.5), (2, "c", None), (3, None, 2.5)]
    table.replace(EXPORTERS[exporter](first))
    assert sorted(table.scan().to_tuples()) == [(1, "a", 1.5), (2, "b", None)]


def test_answers_become_frames(cache: pillion.Cache) -> None:
    cache.create_table("t", pa.table({"id": [1, 2], "text": ["a", None]}), primary_key="id")
    query = "SELECT * FROM t ORDER BY id"
    assert cache.sql(query).to_pyarrow().to_pydict() == {"id": [1, 2], "text": ["a", None]}
    assert cache.sql(query).to_polars().to_dicts() == [{"id": 1, "text": "a"}, {"id": 2, "text": None}]
    frame = cache.sql(query).to_pandas()
    assert isinstance(frame, pd.DataFrame) and list(frame["id"]) == [1, 2]
    answer = cache.sql(query)
    assert duckdb.sql("SELECT sum(id) FROM answer").fetchall() == [(3,)]
    assert na.Array(cache.sql(query).read_all()).to_pylist() == [{"id": 1, "text": "a"}, {"id": 2, "text": None}]
    table = cache["t"]
    for _ in range(2):
        assert pa.table(table).num_rows == 2
    numbers = table
    assert duckdb.sql("SELECT sum(id) FROM numbers").fetchall() == [(3,)]
    assert pl.DataFrame(table).height == 2
    array = pa.record_batch(cache.sql(query).read_all())
    assert array.num_rows == 2


def test_sliced_chunked_and_strided_arrays_keep_their_values(embedded: pillion.Cache) -> None:
    whole = pa.table({"id": range(100), "flag": [row % 3 == 0 for row in range(100)], "text": [str(row) for row in range(100)]})
    sliced = pa.concat_tables([whole.slice(13, 7), whole.slice(50, 0), whole.slice(91)])
    table = embedded.create_table("t", sliced, primary_key="id")
    assert sorted(table.scan().to_pylist(), key=lambda row: row["id"]) == sliced.to_pylist()
    strided = pd.DataFrame({"id": np.arange(0, 40, dtype="int64")[::4], "x": np.arange(0.0, 20.0)[::-2]})
    table = embedded.create_table("s", strided, primary_key="id")
    assert [table[key]["x"] for key in (0, 4, 36)] == [19.0, 17.0, 1.0]
    nested = pa.table({"id": [1, 2, 3], "list": [[1, 2], None, []]}).slice(1)
    assert embedded.create_table("n", nested, primary_key="id").scan().to_pylist() == nested.to_pylist()


def test_values_are_fitted_exactly_or_refused(embedded: pillion.Cache) -> None:
    table = embedded.create_table(
        "t",
        pa.table({"id": pa.array([1], pa.int32()), "f": pa.array([1.5], pa.float32()), "at": pa.array([0], pa.timestamp("us"))}),
        primary_key="id",
    )
    table.upsert(pa.table({"id": pa.array([2], pa.int64()), "f": [2.5], "at": pa.array([3], pa.timestamp("s"))}))
    table.upsert(pa.table({"id": pa.array([3], pa.uint8()), "f": [float("nan")], "at": pa.array([5000], pa.timestamp("ns"))}))
    assert table[2]["f"] == 2.5 and table[3]["f"] != table[3]["f"]
    assert table[3]["at"].microsecond == 5
    for wrong in (
        {"id": pa.array([2**40], pa.int64()), "f": [0.0], "at": pa.array([0], pa.timestamp("us"))},
        {"id": [4], "f": [0.1], "at": pa.array([0], pa.timestamp("us"))},
        {"id": [4], "f": [0.5], "at": pa.array([1], pa.timestamp("ns"))},
        {"id": [4], "f": [0.5], "at": pa.array([1], pa.timestamp("us", "UTC"))},
        {"id": ["4"], "f": [0.5], "at": pa.array([1], pa.timestamp("us"))},
    ):
        with pytest.raises(pillion.Error):
            table.upsert(pa.table(wrong))
    assert len(table) == 3


def test_an_exporter_that_fails_half_way_changes_nothing(cache: pillion.Cache) -> None:
    schema = pa.schema({"id": pa.int64()})

    def batches():  # type: ignore[no-untyped-def]
        yield pa.record_batch({"id": [10]}, schema)
        raise ValueError("the exporter broke")

    table = cache.create_table("t", [{"id": 1}], primary_key="id")
    for write in (table.append, table.upsert, table.replace):
        with pytest.raises(pillion.Error, match="the exporter broke"):
            write(pa.RecordBatchReader.from_batches(schema, batches()))
    with pytest.raises(pillion.Error):
        cache.create_table("u", pa.RecordBatchReader.from_batches(schema, batches()))
    assert table.scan().to_pylist() == [{"id": 1}]
    assert [one.name for one in cache.tables()] == ["t"]


def test_broken_exporters_are_errors(embedded: pillion.Cache) -> None:
    class Raises:
        def __arrow_c_stream__(self, requested_schema=None):  # type: ignore[no-untyped-def]
            raise RuntimeError("no stream today")

    class NoCapsule:
        def __arrow_c_stream__(self, requested_schema=None):  # type: ignore[no-untyped-def]
            return 7

    class OtherCapsule:
        def __arrow_c_stream__(self, requested_schema=None):  # type: ignore[no-untyped-def]
            return pa.schema({"id": pa.int64()}).__arrow_c_schema__()

    class Twice:
        capsule = pa.table({"id": [1]}).__arrow_c_stream__()

        def __arrow_c_stream__(self, requested_schema=None):  # type: ignore[no-untyped-def]
            return self.capsule

    with pytest.raises(RuntimeError, match="no stream today"):
        embedded.create_table("t", Raises())
    for broken in (NoCapsule(), OtherCapsule(), pa.chunked_array([[1]])):
        with pytest.raises(pillion.SourceError):
            embedded.create_table("t", broken)
    embedded.create_table("t", Twice())
    with pytest.raises(pillion.SourceError, match="read already"):
        embedded.create_table("u", Twice())


def test_invalid_texts_of_an_exporter_are_refused(embedded: pillion.Cache) -> None:
    offsets = pa.py_buffer(np.array([0, 2], dtype="int32").tobytes())
    broken = pa.StringArray.from_buffers(1, offsets, pa.py_buffer(b"\xff\xfe"))
    with pytest.raises(pillion.SourceError):
        embedded.create_table("t", pa.table({"text": broken}))


def test_a_stream_that_nobody_reads_is_freed(cache: pillion.Cache) -> None:
    numbers(cache)
    for _ in range(20):
        capsule = cache.sql("SELECT * FROM numbers").__arrow_c_stream__()
        del capsule
        reader = pa.RecordBatchReader.from_stream(cache.sql("SELECT * FROM numbers"))
        reader.read_next_batch()
        del reader
    gc.collect()
    assert cache.sql("SELECT count(*) FROM numbers").to_tuples() == [(ROWS,)]


def test_an_error_of_a_query_reaches_the_library_that_reads_it(cache: pillion.Cache) -> None:
    cache.create_table("t", [{"id": 0}, {"id": 1}], primary_key="id")
    with pytest.raises(Exception, match="(?i)divide by zero"):
        pa.table(cache.sql("SELECT 1 / id FROM t"))
    with pytest.raises(pillion.RequestError) as caught:
        cache.sql("SELECT 1 / id FROM t").read_all()
    assert caught.value.code == "Execution"
