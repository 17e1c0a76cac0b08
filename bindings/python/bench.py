"""Times of lookups and queries from Python, against redis-py, sqlite3 and lmdb, in one run and taking turns.

    python bench.py --command target/release/pillion [--rows 1000000] [--rounds 20]

Build both the wheel and the command in release: `maturin build --release`, `cargo build --release --bin pillion`. Rivals that are
not installed are left out.
"""

from __future__ import annotations

import argparse
import pathlib
import pickle
import random
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable

import pillion

COLUMNS = ["carrier", "origin", "dest", "delay", "distance"]
CALLS = 2000
SEED = 20130101


def rows(count: int) -> list[dict[str, object]]:
    chance = random.Random(SEED)
    carriers, airports = ["UA", "AA", "B6", "DL", "EV"], ["EWR", "LGA", "JFK", "IAH", "ORD"]
    return [
        {
            "id": number,
            "carrier": chance.choice(carriers),
            "origin": chance.choice(airports),
            "dest": chance.choice(airports),
            "delay": chance.random() * 100,
            "distance": chance.randrange(5000),
        }
        for number in range(count)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", required=True, help="the command `pillion`, built in release")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(options, pathlib.Path(folder))


def run(options: argparse.Namespace, folder: pathlib.Path) -> None:
    data = rows(options.rows)
    config = folder / "pillion.toml"
    config.write_text(f'dir = "{folder}/cache"\nsocket = "{folder}/s.sock"\n')
    processes = [subprocess.Popen([options.command, "serve", "--config", str(config)], stderr=subprocess.DEVNULL)]
    try:
        attached = pillion.connect(f"unix:{folder}/s.sock", attach="require")
        attached.create_table("t", data, primary_key="id")
        remote = pillion.connect(f"unix:{folder}/s.sock", attach="never")
        remote.compact()
        contestants = pillion_contestants(attached, remote)
        contestants |= rivals(folder, data, processes)
        report(contestants, options)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def pillion_contestants(attached: pillion.Cache, remote: pillion.Cache) -> dict[str, Callable[[int], object]]:
    near, far = attached["t"], remote["t"]
    point = attached.prepare("SELECT carrier, origin, dest, delay, distance FROM t WHERE id = $1")

    def get(table: pillion.Table) -> Callable[[int], object]:
        def one(key: int) -> object:
            row = table.get(key)
            assert row is not None
            return [row[name] for name in COLUMNS]

        return one

    return {
        "pillion attached, get of five columns": get(near),
        "pillion remote, get of five columns": get(far),
        "pillion attached, prepared SQL by key": lambda key: point.execute([key]).to_tuples(),
    }


def rivals(
    folder: pathlib.Path, data: list[dict[str, object]], processes: list[subprocess.Popen[bytes]]
) -> dict[str, Callable[[int], object]]:
    made: dict[str, Callable[[int], object]] = {}
    database = sqlite3.connect(folder / "t.db")
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, carrier, origin, dest, delay REAL, distance INTEGER)")
    database.executemany("INSERT INTO t VALUES (:id, :carrier, :origin, :dest, :delay, :distance)", data)
    database.commit()
    query = "SELECT carrier, origin, dest, delay, distance FROM t WHERE id = ?"
    made["sqlite3, prepared statement"] = lambda key: database.execute(query, (key,)).fetchone()
    try:
        import lmdb

        environment = lmdb.open(str(folder / "lmdb"), map_size=4 << 30)
        with environment.begin(write=True) as writing:
            for row in data:
                writing.put(str(row["id"]).encode(), pickle.dumps([row[name] for name in COLUMNS]))
        reading = environment.begin(buffers=True)
        made["lmdb, pickled rows, one transaction held"] = lambda key: pickle.loads(reading.get(str(key).encode()) or b"")
    except ImportError:
        print("not run: lmdb is not installed")
    server = shutil.which("redis-server")
    try:
        import redis
    except ImportError:
        server = None
    if server is None:
        print("not run: redis-server or redis-py is not installed")
        return made
    socket = f"{folder}/redis.sock"
    processes.append(subprocess.Popen([server, "--port", "0", "--unixsocket", socket, "--save", ""], stdout=subprocess.DEVNULL))
    while not pathlib.Path(socket).exists():
        time.sleep(0.01)
    client = redis.Redis(unix_socket_path=socket)
    for start in range(0, len(data), 10_000):
        pipeline = client.pipeline(transaction=False)
        for row in data[start : start + 10_000]:
            pipeline.hset(str(row["id"]), mapping={name: str(row[name]) for name in COLUMNS})
        pipeline.execute()
    made["redis-py over a Unix socket, hmget of five fields"] = lambda key: client.hmget(str(key), COLUMNS)
    return made


def report(contestants: dict[str, Callable[[int], object]], options: argparse.Namespace) -> None:
    chance = random.Random(SEED)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(options.rounds):
        keys = [chance.randrange(options.rows) for _ in range(CALLS)]
        for name, call in contestants.items():
            start = time.perf_counter()
            for key in keys:
                call(key)
            times[name].append((time.perf_counter() - start) / CALLS * 1e6)
    best = min(statistics.median(taken) for taken in times.values())
    print(f"{options.rows} rows, median of {options.rounds} rounds of {CALLS} calls, µs a call")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{median:9.2f}  {median / best:6.1f} x  {name}")


if __name__ == "__main__":
    main()
