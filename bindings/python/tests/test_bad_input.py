"""Bad input, and the ends of processes: exceptions, and never a crash."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import datetime as dt
import multiprocessing
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

import pillion
import pillion.aio
from conftest import FLIGHTS, Sidecar, wait_until
from pillion import _errors, _pillion

# A query that takes for ever.
ENDLESS = "SELECT count(*) FROM t a, t b, t c, t d, t e WHERE a.id + b.id + c.id + d.id + e.id = -1"


def endless(cache: pillion.Cache) -> str:
    cache.create_table("t", pa.table({"id": range(5000)}), primary_key="id")
    return ENDLESS


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process of its own."""
    command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_every_code_has_a_class_and_a_hint() -> None:
    codes = _pillion._codes()
    assert len(codes) > 40
    for number, name, kind in codes:
        error = _errors.make(number, name, kind, "words", ["cause"])
        assert isinstance(error, pillion.Error)
        assert (error.code, error.number, error.kind) == (name, number, kind)
        assert isinstance(error, _errors.KINDS[kind][0])
        assert error.hint and str(error) == "words: cause"
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.code) == (type(error), str(error), name)
    names = {name for _, name, _ in codes}
    assert set(_errors.CLASSES) <= names and set(_errors.HINTS) <= names


@pytest.mark.parametrize(
    "row",
    [
        {"id": "1"},
        {"id": 1.5},
        {"id": True},
        {"id": 2**63},
        {"id": 2**100},
        {"id": None},
        {},
        {"id": 1, "f": "x"},
        {"id": 1, "f": 2**60 + 1},
        {"id": 1, "text": 7},
        {"id": 1, "text": b"x"},
        {"id": 1, "text": "\ud800"},
        {"id": 1, "at": dt.datetime(2013, 1, 1)},
        {"id": 1, "at": dt.date(2013, 1, 1)},
        {"id": 1, "naive": dt.datetime(2013, 1, 1, tzinfo=dt.timezone.utc)},
        {"id": 1, "naive": dt.datetime(2013, 1, 1, microsecond=1)},
        {"id": 1, "small": 300},
        {"id": 1, "narrow": 1e300},
        {"id": 1, "narrow": 0.1},
        {"id": 1, "narrow": 2**24 + 1},
        {"id": 1, "half": 70000.0},
        {"id": 1, "price": Decimal("12e35")},
        {"id": 1, "cents": Decimal("1000")},
        {"id": 1, "cents": Decimal("0.001")},
        {"id": 1, "day": "2013-01-01"},
        {"id": 1, "txet": "x"},
        {1: 2},
    ],
)
def test_dicts_that_do_not_fit_are_refused(row: dict[Any, Any], embedded: pillion.Cache) -> None:
    schema = pa.schema(
        {
            "id": pa.int64(),
            "f": pa.float64(),
            "text": pa.string(),
            "at": pa.timestamp("us", "UTC"),
            "naive": pa.timestamp("ms"),
            "small": pa.uint8(),
            "day": pa.date32(),
            "narrow": pa.float32(),
            "half": pa.float16(),
            "price": pa.decimal128(38, 2),
            "cents": pa.decimal128(5, 2),
        }
    )
    table = embedded.create_table("t", schema.empty_table(), primary_key="id")
    table.append({"id": 0, "f": float("nan"), "small": 255, "narrow": float("nan"), "half": -0.5, "price": 12, "cents": 999})
    for write in (table.append, table.upsert, table.replace):
        with pytest.raises((pillion.RequestError, UnicodeEncodeError)):
            write([{"id": 5}, row])
    assert len(table) == 1 and table[0]["f"] != table[0]["f"] and table[0]["narrow"] != table[0]["narrow"]


def test_a_value_that_would_be_rounded_is_refused_with_its_cell(embedded: pillion.Cache) -> None:
    schema = pa.schema({"id": pa.int64(), "narrow": pa.float32(), "price": pa.decimal128(38, 2)})
    table = embedded.create_table("t", schema.empty_table(), primary_key="id")
    for column, value in (("narrow", 1e300), ("price", Decimal("12e35"))):
        with pytest.raises(pillion.RequestError, match=f"row 1, column `{column}`") as caught:
            table.append([{"id": 1}, {"id": 2, column: value}])
        assert caught.value.code == "SchemaMismatch"
    assert len(table) == 0


def test_what_is_no_rows_is_refused(embedded: pillion.Cache) -> None:
    for wrong in (7, None, [1, 2], [[1]], object(), 1.5, [], [{}], {"a": object()}, [{"a": 1}, {"a": "x"}], [{"a": [1]}], b"x"):
        with pytest.raises(pillion.RequestError):
            embedded.create_table("t", wrong)
    assert embedded.tables() == []

    def breaks():  # type: ignore[no-untyped-def]
        yield {"id": 1}
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        embedded.create_table("t", breaks())
    mixed = embedded.create_table("mixed", [{"id": 1, "x": 1}, {"id": 2, "x": 1.5, "y": "z"}, {"id": 2**64 - 1}], primary_key="id")
    assert mixed.scan().to_tuples() == [(1, 1.0, None), (2, 1.5, "z"), (2**64 - 1, None, None)]


def test_wrong_arguments_are_type_errors_or_ours(embedded: pillion.Cache, tmp_path: pathlib.Path) -> None:
    embedded.create_table("t", [{"id": 1}], primary_key="id")
    table = embedded["t"]
    for call in (
        lambda: embedded.table(7),
        lambda: embedded.sql(b"SELECT 1"),
        lambda: table.changes(7),
        lambda: table.scan("id"),
        lambda: table.get(),
        lambda: pillion.open(7),
        lambda: pillion.Cache(),
        lambda: pillion.Row(),
    ):
        with pytest.raises(TypeError):
            call()
    for call in (
        lambda: embedded.create_table("u", [{"id": 1}], primary_key="nope"),
        lambda: embedded.create_table("t", [{"id": 1}]),
        lambda: embedded.create_table("u", [{"id": 1}], write_policy="nobody"),
        lambda: embedded.create_table("u", [{"id": 1}], max_staleness=-1),
        lambda: embedded.create_table("u", [{"id": 1}], max_staleness=float("nan")),
        lambda: embedded.create_table("u", [{"id": 1}], retain=("id", 5)),
        lambda: embedded.sql("SELEKT 1"),
        lambda: embedded.sql("SELECT * FROM nope"),
        lambda: embedded.sql("SELECT '\0' FROM nope"),
        lambda: embedded.sql("DROP TABLE t"),
        lambda: pillion.open_read_only(tmp_path / "nothing"),
        lambda: pillion.connect(tmp_path / "s", attach="maybe"),
        lambda: pillion.from_url("gopher:x"),
        lambda: table.changes(pillion.Version(1, 2)),
    ):
        with pytest.raises(pillion.Error) as caught:
            call()
        assert caught.value.hint
    with pytest.raises(pillion.RetryError) as caught:
        pillion.connect(tmp_path / "no.sock", deadline=0.2)
    assert caught.value.code in ("Unavailable", "Timeout")


def limited() -> None:
    """Ends this child after a minute, whatever it waits for: the time limits of the tests are those of the parent."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(60)


def child(work: Any) -> int:
    """The exit status of a forked child that does some work."""
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            limited()
            work()
            status = 0
        except BaseException as error:  # noqa: BLE001 - the child must not return into pytest
            print(f"in the child: {error!r}", file=sys.stderr)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_fork_refuses_the_handles_of_its_parent(cache: pillion.Cache, flights: pillion.Table) -> None:
    row = flights[("UA", 1545)]
    answer, snapshot, prepared = flights.scan(), cache.snapshot(), cache.prepare("SELECT 1")
    subscription, transaction = flights.subscribe(), cache.transaction()
    batch = flights.scan().read_all()

    def work() -> None:
        nonlocal answer
        for call in (
            lambda: flights.get(("UA", 1545)),
            lambda: cache.sql("SELECT 1"),
            lambda: flights.upsert(FLIGHTS),
            answer.read_all,
            lambda: snapshot.table("flights"),
            prepared.execute,
            lambda: next(subscription),
            lambda: subscription.version,
            transaction.commit,
        ):
            try:
                call()
            except pillion.ClosedError as error:
                assert "fork" in str(error) and "fork" in error.hint
            else:
                raise AssertionError("it was not refused")
        assert row["origin"] == "EWR" and len(pa.table(batch)) == 3
        # Neither closes the cache of the parent.
        cache.close()
        answer = None  # type: ignore[assignment]
        snapshot.close()

    assert child(work) == 0
    assert flights[("UA", 1545)]["delay"] == 2.0
    assert len(answer.read_all()) == 3
    flights.upsert([{"carrier": "UA", "flight": 2, "delay": None, "origin": None}])
    assert len(flights) == 4


def test_a_fork_opens_the_cache_again(sidecar: Sidecar) -> None:
    parent = sidecar.connect(attach="require")
    flights = parent.create_table("flights", FLIGHTS, primary_key=["carrier", "flight"])
    assert parent.sql("SELECT count(*) FROM flights").to_tuples() == [(3,)]

    def work() -> None:
        for attach in ("require", "never"):
            with sidecar.connect(attach=attach) as cache:
                assert cache["flights"][("UA", 1545)]["delay"] == 2.0
                assert cache.sql("SELECT count(*) FROM flights").to_tuples() == [(3,)]
                cache["flights"].upsert(FLIGHTS)

    for _ in range(3):
        assert child(work) == 0
    assert len(flights) == 3
    context = multiprocessing.get_context("fork")
    with context.Pool(2, limited) as pool:
        assert pool.map(attached_delay, [str(sidecar.socket)] * 4) == [2.0] * 4


def test_a_fork_does_not_wait_for_a_thread_of_its_parent(flights: pillion.Table) -> None:
    with flights.subscribe() as subscription:
        waiting = threading.Thread(target=lambda: list(subscription))
        waiting.start()

        def work() -> None:
            try:
                subscription.version
            except pillion.ClosedError as error:
                assert "fork" in str(error)
            else:
                raise AssertionError("it was not refused")

        # The thread has the subscription nearly all the time, and so at some of these forks.
        for _ in range(5):
            assert child(work) == 0
        subscription.close()
        waiting.join()


def test_asyncio_goes_on_in_a_fork(sidecar: Sidecar) -> None:
    sidecar.connect(attach="never").create_table("flights", FLIGHTS, primary_key=["carrier", "flight"])

    async def delay() -> float:
        async with await pillion.aio.connect(sidecar.socket, attach="never") as cache:
            row = await (await cache.table("flights")).get(("UA", 1545))
            assert row is not None
            return row["delay"]

    def work() -> None:
        assert asyncio.run(delay()) == 2.0

    # Now the parent has threads that are idle.
    work()
    assert child(work) == 0
    work()


def attached_delay(socket: str) -> float:
    with pillion.connect(socket, attach="require") as cache:
        delay = cache["flights"][("UA", 1545)]["delay"]
        assert isinstance(delay, float)
        return delay


@pytest.mark.parametrize("read", ["answer.read_all()", "list(answer)", "pyarrow.table(answer)", "polars.DataFrame(answer)"])
def test_ctrl_c_ends_a_query(read: str, cache: pillion.Cache) -> None:
    import polars
    import pyarrow

    query = endless(cache)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        answer = cache.sql(query)
        try:
            eval(read, {"answer": answer, "pyarrow": pyarrow, "polars": polars})
        except pillion.Error:
            raise
        except Exception:
            # A library said so in its own words; the interrupt comes next.
            for _ in range(1000):
                time.sleep(0.001)
    timer.join()
    assert cache.sql("SELECT count(*) FROM t").to_tuples() == [(5000,)]


def helpers() -> int:
    """How many threads do what the main thread waits for."""
    names = []
    for task in pathlib.Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            names.append((task / "comm").read_text().strip())
    return names.count("pillion-python")


@pytest.mark.parametrize("which", ["a snapshot's", "a prepared one", "a prepared one at a snapshot"])
def test_ctrl_c_ends_a_query_wherever_it_comes_from(which: str, cache: pillion.Cache) -> None:
    query = endless(cache)
    snapshot, prepared = cache.snapshot(), cache.prepare(query)
    queries = {
        "a snapshot's": lambda: snapshot.sql(query),
        "a prepared one": prepared.execute,
        "a prepared one at a snapshot": lambda: prepared.execute(snapshot=snapshot),
    }
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        queries[which]().read_all()
    timer.join()
    # A query that went on would keep its thread.
    wait_until(lambda: helpers() == 0)
    assert cache.sql("SELECT count(*) FROM t").to_tuples() == [(5000,)]


def test_ctrl_c_ends_a_load_and_changes_nothing(cache: pillion.Cache) -> None:
    schema = pa.schema({"id": pa.int64()})
    table = cache.create_table("t", [{"id": 1}], primary_key="id")

    def forever():  # type: ignore[no-untyped-def]
        start = 10
        while True:
            time.sleep(0.01)
            yield pa.record_batch({"id": pa.array(range(start, start + 10))}, schema)
            start += 10

    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        table.append(pa.RecordBatchReader.from_batches(schema, forever()))
    timer.join()
    table.append([{"id": 2}])
    assert len(table) == 2


def test_ctrl_c_ends_a_wait_for_changes(flights: pillion.Table) -> None:
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        next(flights.subscribe())
    timer.join()


def test_another_thread_cancels_a_query_while_python_goes_on(cache: pillion.Cache) -> None:
    answer = cache.sql(endless(cache)) if cache.way != "remote" else None
    if answer is None:
        pytest.skip("a sidecar answers sql() with the first rows, so there is no answer to cancel yet")
    threading.Timer(0.2, answer.cancel).start()
    with pytest.raises(pillion.CancelledError):
        answer.read_all()


def test_python_goes_on_while_other_threads_read(embedded: pillion.Cache) -> None:
    answer = embedded.sql(endless(embedded))
    ended: list[BaseException] = []

    def read() -> None:
        try:
            answer.read_all()
        except pillion.Error as error:
            ended.append(error)

    threads = [threading.Thread(target=read)]
    threads[0].start()
    for _ in range(1000):
        assert embedded["t"][7]["id"] == 7
    assert threads[0].is_alive()
    answer.cancel()
    threads[0].join()
    assert [type(error) for error in ended] == [pillion.CancelledError]


class Stream(ctypes.Structure):
    """`ArrowArrayStream` of the C stream interface."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("get_schema", "get_next", "get_last_error", "release", "private_data")]


@pytest.mark.parametrize("where", ["the main thread", "another thread"])
def test_python_goes_on_while_a_library_asks_for_rows_with_the_gil(where: str, embedded: pillion.Cache) -> None:
    answer = embedded.sql(endless(embedded))
    capsule = answer.__arrow_c_stream__()
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = pointer_of(capsule, b"arrow_array_stream")
    # Unlike a function of CDLL, one of this type keeps the GIL during a call.
    get_next = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(Stream.from_address(address).get_next)
    codes: list[int] = []

    def read() -> None:
        array = ctypes.create_string_buffer(80)
        codes.append(get_next(address, ctypes.addressof(array)))

    threading.Timer(0.2, answer.cancel).start()
    if where == "the main thread":
        read()
    else:
        reader = threading.Thread(target=read)
        reader.start()
        reader.join()
    assert codes != [0] and len(codes) == 1


SHUTDOWN = """
    import sys, threading, pyarrow, pillion
    cache = pillion.from_url(sys.argv[1])
    table = cache.table("flights")
    held = [table, table.get(("UA", 1545)), table.scan(), cache.snapshot(), cache.prepare("SELECT 1"), cache.transaction(),
            table.subscribe(), cache.sql("SELECT * FROM flights"), cache.sql("SELECT * FROM flights").__arrow_c_stream__(),
            pyarrow.table(table.scan()), table.scan().read_all(), table.get_many([("UA", 1545)])]
    import builtins
    builtins.kept = held
    def wait():
        for _ in table.subscribe():
            pass
    threading.Thread(target=wait, daemon=True).start()
    def ask():
        while True:
            table.get(("UA", 1545)); cache.sql("SELECT count(*) FROM flights").read_all()
    for _ in range(3):
        threading.Thread(target=ask, daemon=True).start()
    import time; time.sleep(0.3)
    print("bye")
"""


@pytest.mark.parametrize("way", ["embedded", "attached", "remote"])
def test_an_interpreter_ends_with_answers_alive(way: str, sidecar: Sidecar, tmp_path: pathlib.Path) -> None:
    if way == "embedded":
        url = f"file:{tmp_path / 'own'}"
        with pillion.from_url(url) as cache:
            cache.create_table("flights", FLIGHTS, primary_key=["carrier", "flight"])
    else:
        sidecar.connect().create_table("flights", FLIGHTS, primary_key=["carrier", "flight"])
        url = f"unix:{sidecar.socket}?attach={'require' if way == 'attached' else 'never'}"
    for _ in range(3):
        ended = python(SHUTDOWN, url)
        assert (ended.returncode, ended.stdout) == (0, "bye\n"), ended.stderr
        assert "Fatal" not in ended.stderr and "panicked" not in ended.stderr, ended.stderr


def test_a_program_that_forgets_to_close_loses_nothing(tmp_path: pathlib.Path) -> None:
    code = """
        import sys, pillion
        cache = pillion.open(sys.argv[1])
        cache.create_table("t", [{"id": 1}], primary_key="id").append([{"id": 2}])
    """
    ended = python(code, str(tmp_path / "c"))
    assert ended.returncode == 0, ended.stderr
    with pillion.open(tmp_path / "c") as cache:
        assert cache["t"].scan().to_tuples() == [(1,), (2,)]


def test_memory_does_not_grow_with_calls(cache: pillion.Cache, flights: pillion.Table) -> None:
    def resident() -> int:
        return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def use(times: int) -> None:
        for _ in range(times):
            flights.get(("UA", 1545))["origin"]
            pa.table(flights.get_many([("UA", 1545), ("AA", 1141)]))
            pa.table(cache.sql("SELECT * FROM flights WHERE flight > $1", [1]))
            with pytest.raises(pillion.Error):
                flights.get("wrong")

    use(300)
    before = resident()
    use(1000)
    assert resident() - before < 24 << 20
