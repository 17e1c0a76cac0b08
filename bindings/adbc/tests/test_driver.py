"""What the driver does in a driver manager, in every way in."""

from __future__ import annotations

import datetime as dt
import decimal
import pathlib
import threading
import time

import adbc_driver_manager
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from adbc_driver_manager import dbapi

from conftest import FLIGHTS, Sidecar, connect

# A query that takes for ever.
ENDLESS = "SELECT count(*) FROM t a, t b, t c, t d, t e WHERE a.id + b.id + c.id + d.id + e.id = -1"


def fetch(connection: dbapi.Connection, sql: str, parameters: object = None) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        return cursor.execute(sql, parameters).fetchall()


def details(error: adbc_driver_manager.Error) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in error.details}


def test_the_uri_says_which_way_is_taken(uri: str, connection: dbapi.Connection, request: pytest.FixtureRequest) -> None:
    way = request.node.callspec.params["uri"]
    assert connection.adbc_connection.get_option("pillion.way") == way
    assert connection.adbc_database.get_option("uri") == uri
    assert connection.adbc_get_info()["vendor_name"] == "Pillion"
    assert fetch(connection, "SELECT 1 AS one") == [(1,)]


def test_queries_take_parameters_in_every_form(flights: dbapi.Connection) -> None:
    by_flight = "SELECT flight, delay FROM flights WHERE carrier = ? ORDER BY flight"
    assert fetch(flights, by_flight, ["UA"]) == [(1545, 2.0), (1714, 4.0)]
    assert fetch(flights, "SELECT flight FROM flights WHERE flight = $2 AND carrier = $1", ("AA", 1141)) == [(1141,)]
    assert fetch(flights, "SELECT '?' AS q WHERE $1 IS NULL", [None]) == [("?",)]
    with flights.cursor() as cursor:
        cursor.execute(by_flight, ["UA"])
        assert [column[0] for column in cursor.description] == ["flight", "delay"]
        assert cursor.fetchone() == (1545, 2.0)
        assert cursor.fetchmany(5) == [(1714, 4.0)]
        # Planned before, and run again.
        assert cursor.execute(by_flight, ["AA"]).fetchall() == [(1141, None)]
        table = cursor.execute(by_flight, ["UA"]).fetch_arrow_table()
        assert table.column("flight").to_pylist() == [1545, 1714]
    values = [True, -(2**63), 2.5, "ä", b"\0\xff", dt.date(2013, 1, 1), dt.datetime(2013, 1, 1, 10), decimal.Decimal("1.50")]
    marks = ", ".join("?" for _ in values)
    assert fetch(flights, f"SELECT {marks}", values) == [tuple(values)]


def test_several_rows_of_parameters_give_one_answer(flights: dbapi.Connection) -> None:
    query = "SELECT flight FROM flights WHERE carrier = $1 ORDER BY flight"
    bound = pa.table({"carrier": ["AA", "XX", "UA"]})
    assert fetch(flights, query, bound) == [(1141,), (1545,), (1714,)]
    assert fetch(flights, query, bound.to_reader(max_chunksize=1)) == [(1141,), (1545,), (1714,)]
    with flights.cursor() as cursor:
        empty = cursor.execute(query, bound.slice(0, 0)).fetch_arrow_table()
        assert (empty.num_rows, empty.column_names) == (0, ["flight"])


def test_statements_change_tables_and_count_rows(flights: dbapi.Connection) -> None:
    with flights.cursor() as cursor:
        cursor.executemany("INSERT INTO flights VALUES (?, ?, ?)", [("B6", 1, 0.5), ("B6", 2, None)])
        assert cursor.rowcount == 2
        cursor.executemany("UPDATE flights SET delay = 9.0 WHERE carrier = 'B6'", None)
        assert cursor.rowcount == 2
        cursor.execute("DELETE FROM flights WHERE carrier = ?", ["AA"])
        assert cursor.fetchall() == []
        cursor.execute("CREATE TABLE fruits (id BIGINT, name VARCHAR, PRIMARY KEY (id))")
        cursor.execute("-- a comment\nINSERT INTO fruits VALUES (1, 'apple')")
    assert fetch(flights, "SELECT flight, delay FROM flights ORDER BY flight") == [(1, 9.0), (2, 9.0), (1545, 2.0), (1714, 4.0)]
    assert fetch(flights, "SELECT name FROM fruits") == [("apple",)]


@pytest.mark.parametrize("mode", ["create", "append", "replace", "create_append"])
@pytest.mark.parametrize("there", [False, True])
def test_rows_are_ingested_in_every_mode(mode: str, there: bool, connection: dbapi.Connection) -> None:
    rows = pa.table({"id": pa.array([3, 4], pa.int64()), "name": ["c", None]})
    with connection.cursor() as cursor:
        if there:
            cursor.adbc_ingest("t", pa.table({"id": pa.array([1], pa.int64()), "name": ["a"]}))
        if (mode, there) == ("create", True):
            with pytest.raises(dbapi.Error) as caught:
                cursor.adbc_ingest("t", rows, mode=mode)
            assert caught.value.status_code == adbc_driver_manager.AdbcStatusCode.ALREADY_EXISTS
            expected = [(1, "a")]
        elif (mode, there) == ("append", False):
            with pytest.raises(dbapi.Error) as caught:
                cursor.adbc_ingest("t", rows, mode=mode)
            assert caught.value.status_code == adbc_driver_manager.AdbcStatusCode.NOT_FOUND
            return
        else:
            assert cursor.adbc_ingest("t", rows.to_reader(max_chunksize=1), mode=mode) == 2
            expected = [(3, "c"), (4, None)] if mode == "replace" or not there else [(1, "a"), (3, "c"), (4, None)]
        assert cursor.execute("SELECT id, name FROM t ORDER BY id").fetchall() == expected


def test_ingested_rows_get_the_types_of_their_table(flights: dbapi.Connection) -> None:
    narrow = pa.table({"carrier": pa.array(["B6"], pa.large_string()), "flight": pa.array([7], pa.int16()), "delay": pa.array([1.5], pa.float32())})
    with flights.cursor() as cursor:
        assert cursor.adbc_ingest("flights", narrow, mode="append") == 1
        assert cursor.execute("SELECT delay FROM flights WHERE flight = 7").fetchall() == [(1.5,)]
        other = pa.table({"carrier": ["B6"], "flight": ["x"], "delay": [1.5]})
        with pytest.raises(dbapi.Error) as caught:
            cursor.adbc_ingest("flights", other, mode="append")
        assert caught.value.status_code == adbc_driver_manager.AdbcStatusCode.ALREADY_EXISTS
        with pytest.raises(dbapi.IntegrityError) as caught:
            cursor.adbc_ingest("flights", FLIGHTS, mode="append")
        assert (caught.value.sqlstate, details(caught.value)["pillion.code"]) == ("23505", "DuplicateKey")
        cursor.adbc_statement.set_options(**{"pillion.ingest.upsert": "true"})
        assert cursor.adbc_ingest("flights", FLIGHTS, mode="append") == 3
        assert cursor.execute("SELECT count(*) FROM flights").fetchall() == [(4,)]


def test_replacing_keeps_the_key_of_a_table_with_the_same_columns(flights: dbapi.Connection) -> None:
    with flights.cursor() as cursor:
        assert cursor.adbc_ingest("flights", FLIGHTS.slice(0, 1), mode="replace") == 1
        with pytest.raises(dbapi.IntegrityError):
            cursor.adbc_ingest("flights", FLIGHTS, mode="append")
        assert cursor.adbc_ingest("flights", pa.table({"x": [1]}), mode="replace") == 1
        assert cursor.execute("SELECT * FROM flights").fetch_arrow_table().column_names == ["x"]


def test_there_is_a_catalog_with_tables_columns_and_keys(flights: dbapi.Connection) -> None:
    with flights.cursor() as cursor:
        cursor.adbc_ingest("plain", pa.table({"x": [1]}))

    def objects(**wanted: object) -> list[dict[str, object]]:
        return flights.adbc_get_objects(**wanted).read_all().to_pylist()

    [catalog] = objects()
    assert catalog["catalog_name"] == "pillion"
    [schema] = catalog["catalog_db_schemas"]
    assert schema["db_schema_name"] == "public"
    keyed, plain = schema["db_schema_tables"]
    assert (keyed["table_name"], keyed["table_type"], plain["table_name"]) == ("flights", "table", "plain")
    assert [(column["column_name"], column["ordinal_position"]) for column in keyed["table_columns"]] == [
        ("carrier", 1),
        ("flight", 2),
        ("delay", 3),
    ]
    assert keyed["table_columns"][2]["xdbc_is_nullable"] == "YES"
    [key] = keyed["table_constraints"]
    assert (key["constraint_type"], key["constraint_column_names"]) == ("PRIMARY KEY", ["carrier", "flight"])
    assert plain["table_constraints"] == []
    assert objects(depth="catalogs") == [{"catalog_name": "pillion", "catalog_db_schemas": None}]
    [catalog] = objects(depth="db_schemas")
    assert catalog["catalog_db_schemas"] == [{"db_schema_name": "public", "db_schema_tables": None}]
    [catalog] = objects(depth="tables", table_name_filter="fl%")
    [table] = catalog["catalog_db_schemas"][0]["db_schema_tables"]
    assert table == {"table_name": "flights", "table_type": "table", "table_columns": None, "table_constraints": None}
    [catalog] = objects(table_name_filter="_lain", column_name_filter="y%")
    assert catalog["catalog_db_schemas"][0]["db_schema_tables"][0]["table_columns"] == []
    assert objects(catalog_filter="other") == []
    [catalog] = objects(table_types_filter=["view"])
    assert catalog["catalog_db_schemas"][0]["db_schema_tables"] == []
    [catalog] = objects(db_schema_filter="x")
    assert catalog["catalog_db_schemas"] == []
    assert flights.adbc_get_table_types() == ["table"]
    assert flights.adbc_get_table_schema("flights").names == ["carrier", "flight", "delay"]
    with pytest.raises(dbapi.Error) as caught:
        flights.adbc_get_table_schema("flihgts")
    assert "did you mean `flights`" in str(caught.value)


def test_statistics_count_rows(flights: dbapi.Connection) -> None:
    [catalog] = flights.adbc_get_statistics(table_name_filter="flights").read_all().to_pylist()
    [statistic] = catalog["catalog_db_schemas"][0]["db_schema_statistics"]
    assert (statistic["table_name"], statistic["column_name"], statistic["statistic_key"]) == ("flights", None, 6)
    assert (statistic["statistic_value"], statistic["statistic_is_approximate"]) == (3, False)
    assert flights.adbc_get_statistic_names().read_all().num_rows == 0


def test_the_driver_tells_about_itself(connection: dbapi.Connection) -> None:
    info = connection.adbc_get_info()
    assert info["driver_adbc_version"] == 1_001_000
    # The manager has no words for these: SQL, and Substrait.
    assert info[3] is True and info[4] is False
    assert info["driver_arrow_version"].startswith("59.")


def test_schemas_are_known_before_rows(flights: dbapi.Connection) -> None:
    with flights.cursor() as cursor:
        assert cursor.adbc_execute_schema("SELECT flight FROM flights WHERE carrier = $1").names == ["flight"]
        parameters = cursor.adbc_prepare("SELECT flight FROM flights WHERE carrier = $1 AND flight > $2")
        assert len(parameters) == 2


def test_errors_have_a_class_a_state_and_our_code(flights: dbapi.Connection) -> None:
    cases = [
        ("SELEKT 1", None, dbapi.ProgrammingError, "42000", "InvalidSql"),
        ("SELECT * FROM nope", None, dbapi.ProgrammingError, "42P01", "TableNotFound"),
        ("SELECT 1 WHERE $1 = 2", None, dbapi.ProgrammingError, "07001", "InvalidParameter"),
        ("SELECT 1 / flight - 1 FROM (SELECT flight - 1141 AS flight FROM flights)", None, dbapi.DataError, "22000", "Execution"),
        ("INSERT INTO flights VALUES ('UA', 1545, 1.0)", None, dbapi.IntegrityError, "23505", "DuplicateKey"),
        ("INSERT INTO flights VALUES (NULL, 1545, 1.0)", None, dbapi.Error, None, None),
        ("ALTER TABLE flights ADD COLUMN x INT", None, dbapi.NotSupportedError, "0A000", "Unsupported"),
    ]
    for sql, parameters, kind, state, code in cases:
        with pytest.raises(kind) as caught:
            fetch(flights, sql, parameters)
        if state:
            assert (caught.value.sqlstate, details(caught.value)["pillion.code"]) == (state, code), sql
    assert fetch(flights, "SELECT count(*) FROM flights") == [(3,)], "and the driver goes on"


def test_what_is_not_there_is_refused(flights: dbapi.Connection) -> None:
    for options in (
        {"adbc.connection.autocommit": "false"},
        {"adbc.connection.transaction.isolation_level": "adbc.connection.transaction.isolation.serializable"},
        {"nonsense": "1"},
    ):
        with pytest.raises(dbapi.NotSupportedError):
            flights.adbc_connection.set_options(**options)
    for options in ({"adbc.connection.catalog": "other"}, {"adbc.connection.db_schema": "other"}):
        with pytest.raises(dbapi.Error):
            flights.adbc_connection.set_options(**options)
    assert flights.adbc_current_catalog == "pillion" and flights.adbc_current_db_schema == "public"
    with flights.cursor() as cursor:
        for call in (
            lambda: cursor.adbc_ingest("t", FLIGHTS, temporary=True),
            lambda: cursor.execute(b"\0"),
            lambda: cursor.adbc_execute_partitions("SELECT 1"),
            lambda: cursor.execute("SELECT $1", {"a": 1}),
        ):
            with pytest.raises(dbapi.NotSupportedError):
                call()
    for call in (flights.adbc_connection.commit, flights.adbc_connection.rollback):
        with pytest.raises(dbapi.Error) as caught:
            call()
        assert caught.value.status_code == adbc_driver_manager.AdbcStatusCode.INVALID_STATE


def test_db_api_is_told_that_there_is_only_autocommit(tmp_path: pathlib.Path) -> None:
    with pytest.warns(Warning, match="autocommit"):
        dbapi.connect(driver="pillion", uri=str(tmp_path / "c")).close()


def test_a_read_only_connection_changes_nothing(flights: dbapi.Connection) -> None:
    flights.adbc_connection.set_options(**{"adbc.connection.readonly": "true"})
    with flights.cursor() as cursor:
        for call in (lambda: cursor.execute("DELETE FROM flights"), lambda: cursor.adbc_ingest("t", FLIGHTS)):
            with pytest.raises(dbapi.Error) as caught:
                call()
            assert caught.value.sqlstate == "25006"
    assert fetch(flights, "SELECT count(*) FROM flights") == [(3,)]


def test_uris_that_name_nothing_are_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "notes.txt").write_text("no cache")
    for uri, state in (("gopher:x", "22023"), (str(tmp_path), "22023"), (f"file:{tmp_path / 'x'}?mode=ro", "22023")):
        with pytest.raises(dbapi.Error) as caught:
            connect(uri)
        assert caught.value.sqlstate == state, uri
    with pytest.raises(dbapi.OperationalError) as caught:
        connect(f"unix:{tmp_path / 'no.sock'}?deadline=1")
    assert caught.value.sqlstate in ("08001", "HYT00")
    with pytest.raises(dbapi.Error, match="uri"):
        dbapi.connect(driver="pillion")
    with pytest.raises(dbapi.NotSupportedError):
        dbapi.connect(driver="pillion", uri=str(tmp_path / "c"), db_kwargs={"username": "me"})


def test_a_directory_is_owned_once_and_read_by_many(tmp_path: pathlib.Path) -> None:
    owner = connect(str(tmp_path / "c"))
    with owner.cursor() as cursor:
        cursor.adbc_ingest("t", FLIGHTS)
    with pytest.raises(dbapi.Error) as caught:
        connect(str(tmp_path / "c"))
    assert caught.value.sqlstate == "55006"
    with dbapi.connect(driver="pillion", uri=str(tmp_path / "c"), db_kwargs={"pillion.read_only": "true"}, autocommit=True) as reader:
        assert fetch(reader, "SELECT count(*) FROM t") == [(3,)]
    owner.close()
    with connect(f"pillion:file:{tmp_path / 'c'}") as again:
        assert fetch(again, "SELECT count(*) FROM t") == [(3,)]


def endless(connection: dbapi.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.adbc_ingest("t", pa.table({"id": range(5000)}))


@pytest.mark.parametrize("whole", [False, True], ids=["statement", "connection"])
def test_a_query_is_cancelled_from_another_thread(whole: bool, connection: dbapi.Connection) -> None:
    endless(connection)
    with connection.cursor() as cursor:
        cancel = connection.adbc_cancel if whole else cursor.adbc_cancel
        timer = threading.Timer(0.3, cancel)
        timer.start()
        with pytest.raises(dbapi.OperationalError) as caught:
            cursor.execute(ENDLESS).fetchall()
        timer.join()
        assert (caught.value.sqlstate, details(caught.value)["pillion.code"]) == ("57014", "Cancelled")
        assert cursor.execute("SELECT count(*) FROM t").fetchall() == [(5000,)]


def test_a_statement_that_is_cancelled_may_have_committed(connection: dbapi.Connection) -> None:
    endless(connection)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE counts (n BIGINT)")
        timer = threading.Timer(0.3, cursor.adbc_cancel)
        timer.start()
        with pytest.raises(dbapi.Error) as caught:
            cursor.execute(f"INSERT INTO counts {ENDLESS}")
        timer.join()
        assert (caught.value.sqlstate, details(caught.value)["pillion.code"]) == ("08007", "OutcomeUnknown")
        assert details(caught.value)["pillion.kind"] == "outcome_unknown"
        assert cursor.execute("SELECT count(*) FROM t").fetchall() == [(5000,)]


def test_an_ingest_is_cancelled_and_adds_nothing(connection: dbapi.Connection) -> None:
    schema = pa.schema({"id": pa.int64()})

    def forever():  # type: ignore[no-untyped-def]
        while True:
            time.sleep(0.01)
            yield pa.record_batch({"id": pa.array(range(10))}, schema)

    with connection.cursor() as cursor:
        timer = threading.Timer(0.3, cursor.adbc_cancel)
        timer.start()
        with pytest.raises(dbapi.OperationalError):
            cursor.adbc_ingest("t", pa.RecordBatchReader.from_batches(schema, forever()))
        timer.join()
        with pytest.raises(dbapi.ProgrammingError):
            cursor.execute("SELECT * FROM t")


def test_a_reader_that_fails_half_way_adds_nothing(flights: dbapi.Connection) -> None:
    def breaks():  # type: ignore[no-untyped-def]
        yield pa.record_batch({"carrier": ["B6"], "flight": pa.array([1], pa.int64()), "delay": [1.0]})
        raise ZeroDivisionError("on purpose")

    reader = pa.RecordBatchReader.from_batches(FLIGHTS.schema, breaks())
    with flights.cursor() as cursor, pytest.raises(dbapi.Error, match="on purpose"):
        cursor.adbc_ingest("flights", reader, mode="append")
    assert fetch(flights, "SELECT count(*) FROM flights") == [(3,)]


def test_answers_outlive_everything_else(uri: str, sidecar: Sidecar) -> None:
    connection = connect(uri)
    with connection.cursor() as cursor:
        cursor.adbc_ingest("t", pa.table({"id": range(100_000)}))
        reader = cursor.execute("SELECT id FROM t").fetch_record_batch()
        first = reader.read_next_batch()
        rest = reader.read_all()
    connection.close()
    assert len(first) + rest.num_rows == 100_000
    assert sum(first.column("id").to_pylist()) + sum(rest.column("id").to_pylist()) == 100_000 * 99_999 // 2


def test_threads_have_connections_of_one_cache(uri: str) -> None:
    with connect(uri) as connection:
        with connection.cursor() as cursor:
            cursor.adbc_ingest("t", pa.table({"id": range(1000)}))
        failed: list[BaseException] = []

        def read() -> None:
            try:
                with connection.adbc_clone() as own:
                    for _ in range(20):
                        assert fetch(own, "SELECT count(*) FROM t WHERE id < $1", [10]) == [(10,)]
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []


def test_polars_reads_and_writes(connection: dbapi.Connection) -> None:
    frame = pl.DataFrame({"id": [1, 2, 3], "name": ["a", None, "c"]})
    assert frame.write_database("t", connection, engine="adbc") == 3
    read = pl.read_database("SELECT * FROM t WHERE id > 1 ORDER BY id", connection)
    assert read.equals(frame.filter(pl.col("id") > 1))
    assert pl.read_database("SELECT name FROM t WHERE id = ?", connection, execute_options={"parameters": [1]}).item() == "a"


def test_pandas_reads_and_writes(connection: dbapi.Connection) -> None:
    frame = pd.DataFrame({"id": [1, 2], "x": [0.5, 1.5]})
    frame.to_sql("t", connection, index=False)
    read = pd.read_sql("SELECT * FROM t ORDER BY id", connection)
    assert read.to_dict("list") == frame.to_dict("list")
    frame.to_sql("t", connection, index=False, if_exists="append")
    assert len(pd.read_sql("SELECT * FROM t", connection)) == 4


def test_duckdb_takes_an_answer(flights: dbapi.Connection) -> None:
    with flights.cursor() as cursor:
        answer = cursor.execute("SELECT carrier, delay FROM flights").fetch_record_batch()
        assert duckdb.sql("SELECT carrier, avg(delay) FROM answer GROUP BY carrier ORDER BY carrier").fetchall() == [
            ("AA", None),
            ("UA", 3.0),
        ]
