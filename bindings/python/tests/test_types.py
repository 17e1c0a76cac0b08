"""Values of every type that a table stores, compared with what pyarrow makes of the same Arrow."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import pillion

UTC = dt.timezone.utc
DAY = dt.date(2013, 1, 31)
MOMENT = dt.datetime(2013, 1, 31, 10, 30, 1, 250_000)

# Each type of docs/types.md with values as Arrow has them.
STORED: dict[str, pa.Array] = {
    "bool": pa.array([True, False, None]),
    **{f"int{bits}": pa.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, None], getattr(pa, f"int{bits}")()) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": pa.array([0, 2**bits - 1, None], getattr(pa, f"uint{bits}")()) for bits in (8, 16, 32, 64)},
    "float16": pa.array([1.5, -0.25, None], pa.float32()).cast(pa.float16()),
    "float32": pa.array([1.5, float("inf"), None], pa.float32()),
    "float64": pa.array([0.1, float("nan"), None], pa.float64()),
    "decimal32": pa.array([Decimal("1.50"), Decimal("-9.99"), None], pa.decimal32(3, 2)),
    "decimal64": pa.array([Decimal("1.50"), Decimal("-9.99"), None], pa.decimal64(10, 2)),
    "decimal128": pa.array([Decimal("12345678901234567890.12"), Decimal("-0.01"), None], pa.decimal128(38, 2)),
    "decimal256": pa.array([Decimal(10) ** 60 + Decimal("0.5"), Decimal("-0.5"), None], pa.decimal256(70, 1)),
    "utf8": pa.array(["", "ünïcode 🛵", None]),
    "large_utf8": pa.array(["", "text", None], pa.large_string()),
    "utf8_view": pa.array(["", "a text that is longer than twelve", None], pa.string_view()),
    "binary": pa.array([b"", b"\x00\xff", None]),
    "large_binary": pa.array([b"", b"\x00\xff", None], pa.large_binary()),
    "binary_view": pa.array([b"", b"bytes that are longer than twelve", None], pa.binary_view()),
    "fixed_size_binary": pa.array([b"abc", b"\x00\x01\x02", None], pa.binary(3)),
    "date32": pa.array([DAY, dt.date(1, 1, 1), None], pa.date32()),
    "time32_s": pa.array([dt.time(10, 30), dt.time(23, 59, 59), None], pa.time32("s")),
    "time32_ms": pa.array([dt.time(10, 30, 0, 5000), dt.time(0), None], pa.time32("ms")),
    "time64_us": pa.array([dt.time(10, 30, 0, 5), dt.time(0), None], pa.time64("us")),
    "time64_ns": pa.array([dt.time(10, 30, 0, 5), dt.time(0), None], pa.time64("ns")),
    **{f"timestamp_{unit}": pa.array([MOMENT.replace(microsecond=0), dt.datetime(1969, 12, 31, 23), None], pa.timestamp(unit)) for unit in ("s", "ms", "us")},
    **{
        f"timestamp_us_{zone}": pa.array([MOMENT.replace(tzinfo=UTC), dt.datetime(1969, 7, 1, tzinfo=UTC), None], pa.timestamp("us", zone))
        for zone in ("UTC", "Europe/Berlin", "+05:30")
    },
    **{f"duration_{unit}": pa.array([dt.timedelta(days=-1, seconds=1), dt.timedelta(0), None], pa.duration(unit)) for unit in ("s", "ms", "us")},
    "null": pa.nulls(3),
    "list": pa.array([[1, None], [], None], pa.list_(pa.int64())),
    "large_list": pa.array([["a"], [], None], pa.large_list(pa.string())),
    "fixed_size_list": pa.array([[1, 2], [3, None], None], pa.list_(pa.int64(), 2)),
    "struct": pa.array([{"x": 1, "at": MOMENT}, {"x": None, "at": None}, None]),
    "map": pa.array([[("a", 1), ("b", None)], [], None], pa.map_(pa.string(), pa.int64())),
    "nested": pa.array([[{"x": [DAY]}], [None], None]),
}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    if isinstance(one, dt.datetime) and isinstance(other, dt.datetime):
        return one == other and one.utcoffset() == other.utcoffset()
    return type(one) is type(other) and bool(one == other)


@pytest.mark.parametrize("name", STORED)
def test_values_are_those_of_pyarrow(name: str, cache: pillion.Cache) -> None:
    given = pa.table({"id": range(3), "value": STORED[name]})
    table = cache.create_table("t", given, primary_key="id")
    expected = given.column("value").to_pylist()
    rows = table.scan().to_pylist()
    got_by_key = [table[key]["value"] for key in range(3)]
    got_by_scan = [row["value"] for row in sorted(rows, key=lambda row: row["id"])]
    for got in (got_by_key, got_by_scan):
        assert all(same(one, other) for one, other in zip(got, expected)), (got, expected)
    whole = pa.table(table.scan())
    assert whole.column("id").to_pylist() == [0, 1, 2], "rows are sorted by their key"
    back = whole.column("value")
    assert back.type == STORED[name].type
    if not name.startswith("float"):
        assert back.to_pylist() == expected
    if name != "null":
        # Python's own values, written as dicts, become the same Arrow.
        try:
            table.replace([{"id": key, "value": value} for key, value in enumerate(expected)])
        except pillion.RequestError as error:
            assert error.code in ("UnsupportedType", "SchemaMismatch"), error
            assert name in ("decimal256", "fixed_size_list", "map"), (name, error)
        else:
            again = pa.table(table.scan()).column("value").to_pylist()
            assert all(same(one, other) for one, other in zip(again, expected)), (again, expected)


def test_a_date64_is_a_datetime_because_it_has_a_time(embedded: pillion.Cache) -> None:
    milliseconds = pa.array([1_359_628_201_250, 0], pa.int64()).cast(pa.date64(), safe=False)
    table = embedded.create_table("t", pa.table({"id": [0, 1], "d": milliseconds}), primary_key="id")
    assert table[0]["d"] == MOMENT and table[1]["d"] == dt.datetime(1970, 1, 1)


def test_intervals_are_months_days_and_nanoseconds(embedded: pillion.Cache) -> None:
    given = pa.array([pa.MonthDayNano([1, -2, 3])], pa.month_day_nano_interval())
    table = embedded.create_table("t", pa.table({"id": [0], "i": given}), primary_key="id")
    assert table[0]["i"] == pillion.Interval(months=1, days=-2, nanoseconds=3)


def test_values_that_python_does_not_have_are_errors_and_arrow_has_them(embedded: pillion.Cache) -> None:
    given = pa.table(
        {
            "id": [0],
            "ns": pa.array([1], pa.timestamp("ns")),
            "far": pa.array([2**60], pa.timestamp("s")),
            "time": pa.array([1], pa.time64("ns")),
            "day": pa.array([2**30], pa.date32()),
            "span": pa.array([2**62], pa.duration("s")),
        }
    )
    row = embedded.create_table("t", given, primary_key="id")[0]
    for name in ("ns", "far", "time", "day", "span"):
        with pytest.raises(pillion.TypeMismatchError, match=f"column `{name}`") as caught:
            row[name]
        assert "to_arrow" in caught.value.hint
    assert pa.table(row.to_arrow()).column("ns").cast(pa.int64()).to_pylist() == [1]


KEYS: dict[str, tuple[pa.Array, list[Any]]] = {
    "bool": (pa.array([True]), [True]),
    "int8": (pa.array([-5], pa.int8()), [-5]),
    "uint64": (pa.array([2**64 - 1], pa.uint64()), [2**64 - 1]),
    "float32": (pa.array([1.5], pa.float32()), [1.5]),
    "float64": (pa.array([0.1]), [0.1]),
    "decimal": (pa.array([Decimal("1.50")]), [Decimal("1.5"), Decimal("1.50"), "1.50"]),
    "text": (pa.array(["ü"]), ["ü"]),
    "bytes": (pa.array([b"\x00"]), [b"\x00", bytearray(b"\x00")]),
    "date": (pa.array([DAY]), [DAY, "2013-01-31"]),
    "time": (pa.array([dt.time(1, 2, 3)]), [dt.time(1, 2, 3), "01:02:03"]),
    "naive": (pa.array([MOMENT], pa.timestamp("ms")), [MOMENT, "2013-01-31T10:30:01.25"]),
    "aware": (
        pa.array([MOMENT.replace(tzinfo=UTC)], pa.timestamp("us", "Europe/Berlin")),
        [MOMENT.replace(tzinfo=UTC), (MOMENT + dt.timedelta(hours=2)).replace(tzinfo=dt.timezone(dt.timedelta(hours=2)))],
    ),
    "duration": (pa.array([7], pa.duration("s")), [7]),
}


@pytest.mark.parametrize("name", KEYS)
def test_keys_are_python_values(name: str, cache: pillion.Cache) -> None:
    stored, keys = KEYS[name]
    table = cache.create_table("t", pa.table({"key": stored, "x": [7]}), primary_key="key")
    for key in keys:
        assert table[key]["x"] == 7, key
        assert table.get_many([key, (key,)]).missing == []
    table.delete(keys[0])
    assert len(table) == 0


def test_keys_of_other_kinds_are_refused_with_words(embedded: pillion.Cache) -> None:
    import numpy as np
    import pandas as pd

    given = {"id": [1], "naive": pa.array([MOMENT]), "aware": pa.array([MOMENT.replace(tzinfo=UTC)])}
    ints = embedded.create_table("ints", pa.table(given), primary_key="id")
    assert ints[np.int64(1)]["id"] == 1 == ints[np.uint8(1)]["id"]
    for key in ("1", 1.0, True, None, 2**64, -(2**63) - 1, b"1", [], (1, 2), object(), {"id": 1}, dt.timedelta(1), np.datetime64(1, "ns"), float("nan"), 1j, [[1]]):
        with pytest.raises(pillion.InvalidKeyError):
            ints.get(key)
    naive = embedded.create_table("naive", pa.table(given), primary_key="naive")
    aware = embedded.create_table("aware", pa.table(given), primary_key="aware")
    assert naive[MOMENT]["id"] == 1 == aware[MOMENT.replace(tzinfo=UTC)]["id"]
    assert naive[pd.Timestamp(MOMENT)]["id"] == 1
    assert naive.get(pd.Timestamp(MOMENT) + pd.Timedelta(1, "ms")) is None
    with pytest.raises(pillion.InvalidKeyError, match="without tzinfo"):
        naive.get(MOMENT.replace(tzinfo=UTC))
    with pytest.raises(pillion.InvalidKeyError, match="time zone"):
        aware.get(MOMENT)
    with_zone, without = pa.array([MOMENT.replace(tzinfo=UTC)]), pa.array([MOMENT])
    assert naive.get_many(pa.table({"naive": without})).missing == []
    assert aware.get_many(pa.table({"aware": with_zone})).missing == []
    with pytest.raises(pillion.InvalidKeyError, match="without tzinfo"):
        naive.get_many(pa.table({"naive": with_zone}))
    with pytest.raises(pillion.InvalidKeyError, match="time zone"):
        aware.delete_many(pa.table({"aware": without}))
    assert len(aware) == 1
    keyless = embedded.create_table("keyless", pa.table(given))
    with pytest.raises(pillion.RequestError) as caught:
        keyless.get(1)
    assert caught.value.code == "NoPrimaryKey"


def test_parameters_are_python_values(cache: pillion.Cache) -> None:
    import numpy as np

    values = [None, True, -1, 2**64 - 1, 1.5, "text", DAY, MOMENT, Decimal("1.50"), np.float64(2.5), np.int32(3), np.bool_(True)]
    for value in values:
        cache.sql("SELECT $1 IS NULL", [value]).read_all()
    assert cache.sql("SELECT $1 + 1 AS n", [41]).to_tuples() == [(42,)]
    assert cache.sql("SELECT DATE '2013-01-31' = $1", (DAY,)).to_tuples() == [(True,)]
    for wrong in (7, "text", b"bytes", [object()], [2**70], [Decimal("NaN")], [Decimal(10) ** 50], [np.datetime64(0, "ns")], [1j]):
        with pytest.raises(pillion.RequestError):
            cache.sql("SELECT $1", wrong)


def test_a_parameter_is_a_moment_whichever_zone_a_column_has(cache: pillion.Cache) -> None:
    aware = MOMENT.replace(tzinfo=UTC)
    given = {"id": [1], "berlin": pa.array([aware], pa.timestamp("us", "Europe/Berlin")), "naive": pa.array([MOMENT])}
    cache.create_table("t", pa.table(given), primary_key="id")
    elsewhere = aware.astimezone(dt.timezone(dt.timedelta(hours=5)))
    for column in ("berlin", "naive"):
        for moment in (aware, elsewhere, MOMENT):
            counted = cache.sql(f"SELECT count(*) FROM t WHERE {column} = $1", [moment])
            assert counted.to_tuples() == [(1,)], (column, moment)


def test_what_pandas_adds_to_times_is_null_or_exact(embedded: pillion.Cache) -> None:
    import pandas as pd

    schema = pa.schema(
        {
            "id": pa.int64(),
            "at": pa.timestamp("us"),
            "aware": pa.timestamp("us", "UTC"),
            "day": pa.date32(),
            "span": pa.duration("us"),
            "fine": pa.duration("ns"),
            "list": pa.list_(pa.timestamp("us")),
        }
    )
    table = embedded.create_table("t", schema.empty_table(), primary_key="id")
    nothing = dict.fromkeys(("at", "aware", "day", "span", "fine"), pd.NaT)
    table.append([{"id": 1, **nothing, "list": [pd.NaT]}, {"id": 2, "span": pd.Timedelta(1, "us"), "fine": pd.Timedelta(1500, "ns")}])
    assert table[1].to_dict() == {"id": 1, **dict.fromkeys(nothing), "list": [None]}
    assert table[2]["span"] == dt.timedelta(microseconds=1)
    assert pa.table(table[2].to_arrow()).column("fine").cast(pa.int64()).to_pylist() == [1500]
    with pytest.raises(pillion.RequestError, match="row 0, column `span`"):
        table.append([{"id": 3, "span": pd.Timedelta(1500, "ns")}])
    with pytest.raises(pillion.InvalidKeyError):
        table.get(pd.NaT)
    made = embedded.create_table("made", [{"id": 1, "at": pd.NaT}, {"id": 2, "at": pd.Timestamp(MOMENT)}], primary_key="id")
    assert (made[1]["at"], made[2]["at"]) == (None, MOMENT)
    assert embedded.sql("SELECT $1 IS NULL", [pd.NaT]).to_tuples() == [(True,)]
