"""What a cache does, in every way in."""

from __future__ import annotations

import collections.abc
import datetime
import pathlib
import sys
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pillion
from conftest import FLIGHTS


def by_key(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(rows, key=lambda row: (row["carrier"], row["flight"]))


def test_a_row_is_a_mapping_whose_values_come_when_asked_for(flights: pillion.Table) -> None:
    row = flights.get(("UA", 1545))
    assert row is not None
    assert isinstance(row, collections.abc.Mapping)
    assert (row["carrier"], row["flight"], row["delay"], row[3], row[-1]) == ("UA", 1545, 2.0, "EWR", "EWR")
    assert row == FLIGHTS[0]
    assert dict(row) == FLIGHTS[0] == row.to_dict()
    assert list(row) == ["carrier", "flight", "delay", "origin"]
    assert row.get("nope", 7) == 7
    assert "delay" in row and "nope" not in row and 3 not in row
    assert flights[("AA", 1141)]["delay"] is None
    assert row.to_arrow().to_pylist() == [FLIGHTS[0]]


def test_a_missing_row_is_none_or_a_key_error(flights: pillion.Table) -> None:
    assert flights.get(("UA", 1)) is None
    assert ("UA", 1) not in flights and ("UA", 1545) in flights
    with pytest.raises(KeyError):
        flights[("UA", 1)]
    assert len(flights) == 3


def test_rows_of_many_keys_come_in_their_order(flights: pillion.Table) -> None:
    keys = [("AA", 1141), ("XX", 0), ("UA", 1714)]
    rows = flights.get_many(keys)
    assert [row and row["flight"] for row in rows] == [1141, None, 1714]
    assert rows.missing == [1]
    assert pa.table(rows).to_pylist() == [FLIGHTS[2], FLIGHTS[1]]
    assert pa.table(flights.get_many([])).num_rows == 0
    frame = pa.table({"flight": [1714, 1], "carrier": ["UA", "UA"]})
    assert flights.get_many(frame).missing == [1]


def test_a_scan_has_the_columns_that_are_asked_for(flights: pillion.Table) -> None:
    assert by_key(flights.scan().to_pylist()) == by_key(FLIGHTS)
    assert flights.scan(["origin", "flight"]).schema.names == ["origin", "flight"]
    with pytest.raises(pillion.ColumnNotFoundError, match="did you mean `delay`"):
        flights.scan(["delai"])


def test_sql_takes_parameters_and_can_be_prepared(cache: pillion.Cache, flights: pillion.Table) -> None:
    answer = cache.sql("SELECT flight FROM flights WHERE carrier = $1 ORDER BY flight", ["UA"])
    assert answer.to_tuples() == [(1545,), (1714,)]
    prepared = cache.prepare("SELECT count(*) AS n FROM flights WHERE delay > $1")
    assert prepared.parameters == 1
    assert [prepared.execute([delay]).to_pylist() for delay in (0.0, 3.0)] == [[{"n": 2}], [{"n": 1}]]
    with pytest.raises(pillion.RequestError) as caught:
        cache.sql("SELECT * FROM flights WHERE carrier = $1").read_all()
    assert caught.value.code == "InvalidParameter"


def test_statements_change_tables_in_one_commit(cache: pillion.Cache, flights: pillion.Table) -> None:
    executed = cache.execute("UPDATE flights SET delay = delay + $1 WHERE carrier = 'UA'", [10.0])
    assert (executed.rows, executed.version) == (2, cache.version())
    assert flights[("UA", 1545)]["delay"] == 12.0
    cache.execute("CREATE TABLE fruits (id BIGINT, name VARCHAR, PRIMARY KEY (id))")
    assert cache.execute("INSERT INTO fruits VALUES (1, 'apple'), (2, $1)", ["pear"]).rows == 2
    assert cache["fruits"][2]["name"] == "pear"
    assert cache.execute("DELETE FROM fruits WHERE id > 5").rows == 0
    with pytest.raises(pillion.RequestError) as caught:
        cache.execute("INSERT INTO fruits VALUES (1, 'fig')")
    assert caught.value.code == "DuplicateKey" and len(cache["fruits"]) == 2
    with pytest.raises(pillion.RequestError) as caught:
        cache.execute("SELECT 1")
    assert caught.value.code == "Unsupported"
    assert repr(executed).startswith("Executed(rows=2")


def test_an_answer_is_read_once(cache: pillion.Cache, flights: pillion.Table) -> None:
    answer = cache.sql("SELECT * FROM flights")
    assert len(pa.table(answer)) == 3
    with pytest.raises(pillion.InvalidArgumentError, match="read already"):
        pa.table(answer)
    batch = cache.sql("SELECT * FROM flights").read_all()
    assert pa.table(batch) == pa.table(batch)
    assert batch.column("origin") == [row["origin"] for row in batch.to_pylist()]
    looped = cache.sql("SELECT * FROM flights")
    assert sum(len(part) for part in looped) == 3
    assert list(looped) == [] and next(looped, None) is None
    with pytest.raises(pillion.InvalidArgumentError, match="read already"):
        looped.read_all()
    with cache.sql("SELECT * FROM flights") as closed:
        assert len(next(closed)) > 0
    assert next(closed, None) is None and list(closed) == []


def test_changes_are_commits_with_versions(cache: pillion.Cache, flights: pillion.Table) -> None:
    before = cache.version()
    written = flights.upsert([{"carrier": "UA", "flight": 1545, "delay": -1.0, "origin": "EWR"}])
    deleted = flights.delete(("AA", 1141))
    assert deleted.includes(written) and not before.includes(deleted)
    changes = flights.changes(before)
    assert changes.version == cache.version()
    kinds = [(row["_change"], row["flight"], row["delay"]) for row in changes.to_pylist()]
    assert kinds == [("upsert", 1545, -1.0), ("delete", 1141, None)]
    assert flights.append([{"carrier": "B6", "flight": 1, "delay": None, "origin": None}]).includes(deleted)
    assert flights.delete_many(pa.table({"carrier": ["B6"], "flight": [1]})) == cache.version()
    flights.replace(FLIGHTS[:1])
    assert flights.scan().to_pylist() == FLIGHTS[:1]
    flights.truncate()
    assert len(flights) == 0
    cache.drop_table("flights")
    with pytest.raises(pillion.TableNotFoundError):
        cache.table("flights")


def test_a_snapshot_does_not_see_later_commits(cache: pillion.Cache, flights: pillion.Table) -> None:
    with cache.snapshot() as snapshot:
        flights.truncate()
        held = snapshot.table("flights")
        assert len(held) == 3 and held[("UA", 1545)]["delay"] == 2.0
        assert held.get_many([("UA", 1545), ("UA", 0)]).missing == [1]
        assert len(held.scan().to_pylist()) == 3
        assert snapshot.sql("SELECT count(*) FROM flights").to_tuples() == [(3,)]
        prepared = cache.prepare("SELECT count(*) FROM flights")
        assert prepared.execute(snapshot=snapshot).to_tuples() == [(3,)]
        assert prepared.execute().to_tuples() == [(0,)]
        assert snapshot.version != cache.version()
    with pytest.raises(pillion.ClosedError):
        snapshot.table("flights")


def test_a_transaction_commits_all_or_nothing(cache: pillion.Cache, flights: pillion.Table) -> None:
    other = cache.create_table("other", [{"id": 1}], primary_key="id")
    with cache.transaction() as transaction:
        transaction.upsert(other, [{"id": 2}])
        transaction.delete(flights, [("UA", 1545), ("UA", 1714)])
        transaction.source_position("shop", b"0/16B3748")
    assert transaction.version == cache.version()
    assert (len(other), len(flights)) == (2, 1)
    assert cache.source_position("shop") == b"0/16B3748"
    with pytest.raises(ZeroDivisionError), cache.transaction() as dropped:
        dropped.truncate(other)
        raise ZeroDivisionError
    assert len(other) == 2
    with pytest.raises(pillion.InvalidArgumentError):
        dropped.commit()
    refused = cache.transaction()
    refused.append(other, [{"id": 2}])
    refused.truncate(flights)
    with pytest.raises(pillion.RequestError) as caught:
        refused.commit()
    assert caught.value.code == "DuplicateKey"
    assert len(flights) == 1


def test_a_subscription_hands_out_commits_as_they_come(cache: pillion.Cache, flights: pillion.Table) -> None:
    with flights.subscribe() as subscription:
        assert subscription.next(timeout=0) is None
        flights.delete(("UA", 1545))
        batch = next(subscription)
        assert batch.column("_change") == ["delete"]
        assert subscription.next(timeout=0.0) is None
        assert subscription.version == cache.version()
        waiting = threading.Thread(target=lambda: list(subscription))
        waiting.start()
        subscription.close()
        waiting.join()


def test_files_become_tables(cache: pillion.Cache, tmp_path: pathlib.Path) -> None:
    pq.write_table(pa.Table.from_pylist(FLIGHTS), tmp_path / "flights.parquet")
    (tmp_path / "more.csv").write_text("carrier;flight;delay;origin\nUA;9;NA;EWR\n")
    flights = cache.create_table("flights", tmp_path / "flights.parquet", primary_key=["carrier", "flight"])
    assert by_key(flights.scan().to_pylist()) == by_key(FLIGHTS)
    flights.append(pillion.files(tmp_path / "more.csv", delimiter=";", null="NA"))
    assert flights[("UA", 9)]["delay"] is None
    with pytest.raises(pillion.SourceError) as caught:
        flights.append("nowhere.parquet")
    assert caught.value.code == "SourceNotFound"
    with pytest.raises(pillion.InvalidArgumentError):
        pillion.files("x.csv", delimeter=";")


def test_a_table_is_described(cache: pillion.Cache) -> None:
    hour = datetime.timedelta(hours=1)
    events = pa.table({"id": pa.array([1], pa.int32()), "at": pa.array([datetime.datetime.now(datetime.timezone.utc)])})
    table = cache.create_table(
        "events", events, primary_key="id", write_policy="append_only", retain=("at", hour), max_staleness=3600
    )
    info = table.info()
    assert (info.name, info.primary_key, info.rows) == ("events", ["id"], 1)
    assert (info.write_policy, info.retain, info.max_staleness) == ("append_only", ("at", hour), hour)
    assert info.as_of is not None and info.as_of.tzinfo is not None
    assert [one.name for one in cache.tables()] == ["events"]
    status = cache.status()
    assert status.way == cache.way and status.version == cache.version()
    assert pa.schema(table.schema).names == ["id", "at"]
    with pytest.raises(pillion.RequestError) as caught:
        table.delete(1)
    assert caught.value.code == "WriteNotAllowed"


def test_threads_share_a_cache(cache: pillion.Cache, flights: pillion.Table) -> None:
    failed: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(50):
                assert flights[("UA", 1545)]["delay"] == 2.0
                assert cache.sql("SELECT count(*) FROM flights").to_tuples() == [(3,)]
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_threads_that_are_refused_do_not_wait_for_each_other(cache: pillion.Cache, flights: pillion.Table) -> None:
    snapshot, transaction = cache.snapshot(), cache.transaction()
    given, ended = flights.scan(), flights.scan()
    snapshot.close()
    pa.table(given)
    ended.read_all()
    transaction.truncate(flights)
    transaction.commit()
    calls = [
        lambda: snapshot.table("flights"),
        lambda: snapshot.version,
        given.__arrow_c_stream__,
        given.read_all,
        lambda: next(given),
        ended.read_all,
        lambda: transaction.truncate(flights),
        transaction.commit,
    ]
    refused: list[pillion.Error] = []

    def call_all() -> None:
        for _ in range(200):
            for call in calls:
                try:
                    call()
                except pillion.Error as error:
                    refused.append(error)

    interval = sys.getswitchinterval()
    # Python hands over to another thread at every chance.
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=call_all) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(refused) == 4 * 200 * len(calls)


def test_a_closed_cache_refuses_calls_and_its_rows_stay(cache: pillion.Cache, flights: pillion.Table) -> None:
    row = flights[("UA", 1545)]
    batch = flights.scan().read_all()
    prepared = cache.prepare("SELECT 1")
    transaction = cache.transaction()
    subscription = flights.subscribe()
    cache.close()
    cache.close()
    assert cache.closed
    calls = [
        lambda: flights.get(("UA", 1545)),
        lambda: flights.upsert(FLIGHTS),
        lambda: cache.sql("SELECT 1"),
        lambda: cache.status(),
        prepared.execute,
        transaction.commit,
        lambda: next(subscription),
        lambda: cache["flights"],
    ]
    for call in calls:
        with pytest.raises(pillion.ClosedError) as caught:
            call()
        assert caught.value.kind == "reopen" and "again" in caught.value.hint
    assert row["origin"] == "EWR"
    assert len(pa.table(batch)) == 3


def test_reads_of_an_attached_cache_send_nothing(sidecar, tmp_path) -> None:  # type: ignore[no-untyped-def]
    with sidecar.connect(attach="require") as cache:
        flights = cache.create_table("flights", FLIGHTS, primary_key=["carrier", "flight"])
        sent = cache.messages_sent
        assert flights[("UA", 1545)]["delay"] == 2.0
        assert len(flights.scan().to_pylist()) == 3
        assert cache.sql("SELECT count(*) FROM flights").to_tuples() == [(3,)]
        assert cache.messages_sent == sent
        with pillion.open_read_only(sidecar.dir) as reader:
            assert reader.way == "attached" and len(reader["flights"]) == 3
            with pytest.raises(pillion.RequestError) as caught:
                reader["flights"].truncate()
            assert caught.value.code == "ReadOnly"
        with pytest.raises(pillion.RetryError) as caught:
            pillion.open(sidecar.dir)
        assert caught.value.code == "DirectoryLocked"


def test_urls_and_the_environment_name_caches(sidecar, monkeypatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    sidecar.connect().close()
    for url, way in [(f"unix:{sidecar.socket}?attach=never", "remote"), (f"file:{sidecar.dir}?mode=ro", "attached")]:
        with pillion.from_url(url) as cache:
            assert cache.way == way
        monkeypatch.setenv("PILLION_URL", url)
        with pillion.from_env() as cache:
            assert cache.way == way
    with pytest.raises(pillion.InvalidArgumentError, match="did you mean `query_memory`"):
        pillion.open(tmp_path / "x", query_memroy=1)
    with pytest.raises(pillion.InvalidArgumentError):
        pillion.open(tmp_path / "x", durability="sometimes")
    with pillion.open(tmp_path / "x", durability="always", query_threads=1, query_memory=1 << 26) as cache:
        assert cache.way == "embedded"


def test_a_table_follows_its_source(embedded: pillion.Cache, tmp_path: pathlib.Path) -> None:
    import sqlite3

    database = sqlite3.connect(tmp_path / "shop.db")
    database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)")
    database.execute("INSERT INTO orders VALUES (1, 'packed')")
    database.commit()
    embedded.add_source("shop", f"sqlite://{tmp_path / 'shop.db'}")
    orders = embedded.create_table_from_source("orders", "shop", table="orders", primary_key="id")
    assert orders[1]["state"] == "packed"
    database.execute("UPDATE orders SET state = 'shipped'")
    database.commit()
    orders.refresh()
    assert orders[1]["state"] == "shipped"
    [refresh] = embedded.refreshes()
    assert (refresh.table, refresh.source, refresh.failures) == ("orders", "shop", 0)
    with pytest.raises(pillion.RequestError):
        orders.upsert([{"id": 2, "state": "new"}])
    with pytest.raises(pillion.InvalidArgumentError):
        embedded.add_source("other", "gopher://host")
    with pytest.raises(pillion.InvalidArgumentError):
        embedded.create_table_from_source("t", "shop")


def test_a_working_set_answers_only_what_it_holds(tmp_path: pathlib.Path) -> None:
    import sqlite3

    database = sqlite3.connect(tmp_path / "shop.db")
    database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, region TEXT)")
    database.executemany("INSERT INTO orders VALUES (?, ?)", [(1, "eu"), (2, "us"), (3, "eu")])
    database.commit()
    with pillion.open(tmp_path / "own") as cache:
        cache.add_source("shop", f"sqlite://{tmp_path / 'shop.db'}")
        orders = cache.create_table_from_source("orders", "shop", table="orders", primary_key="id", rows_where="region = 'eu'")
        assert (len(orders), orders[1]["region"]) == (2, "eu")
        assert "region" in (orders.info().coverage or "")
        answer = cache.sql("SELECT count(*) FROM orders WHERE region = 'eu'")
        [table] = answer.certificate.tables
        assert answer.certificate.is_complete and (table.table, table.is_complete) == ("orders", True)
        assert table.reason and table.as_of is not None and "orders" in repr(answer.certificate)
        assert answer.to_tuples() == [(2,)]
        for read in (lambda: cache.sql("SELECT count(*) FROM orders").read_all(), lambda: orders.get(2)):
            with pytest.raises(pillion.NotCoveredError) as caught:
                read()
            assert caught.value.number == 119 and "condition" in caught.value.hint
        local = cache.create_table_from_source(
            "local", "shop", table="orders", primary_key="id", rows_where="region = 'eu'", on_miss="local"
        )
        partial = local.scan()
        assert not partial.certificate.is_complete and len(partial.to_pylist()) == 2
        assert local.get(2) is None
        with pytest.raises(pillion.InvalidArgumentError, match="on_miss"):
            cache.create_table_from_source("x", "shop", table="orders", rows_where="id = 1", on_miss="ask")


def test_a_source_without_changes_is_not_followed(embedded: pillion.Cache, tmp_path: pathlib.Path) -> None:
    import sqlite3

    sqlite3.connect(tmp_path / "shop.db").execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)").connection.commit()
    embedded.add_source("shop", f"sqlite://{tmp_path / 'shop.db'}")
    for wrong in ({"changes": True, "every": 5}, {"on_schema_change": "ignore"}):
        with pytest.raises(pillion.InvalidArgumentError):
            embedded.create_table_from_source("orders", "shop", table="orders", primary_key="id", **wrong)
    with pytest.raises(pillion.RequestError) as caught:
        embedded.create_table_from_source("orders", "shop", table="orders", primary_key="id", changes=True)
    assert caught.value.code == "Unsupported"
    orders = embedded.create_table_from_source("orders", "shop", table="orders", primary_key="id")
    with pytest.raises(pillion.InvalidArgumentError):
        orders.wait_for("0/16B3748", 1)
