"""Eight processes read one table of a sidecar, and all of them together hold its rows once.

    python eight_readers.py target/debug/pillion

Each worker looks up random rows, scans the table with pyarrow, and says its proportional set size (PSS) in the files of the cache:
pages that several processes map count in parts.
"""

from __future__ import annotations

import multiprocessing
import pathlib
import random
import subprocess
import sys
import tempfile
from multiprocessing.synchronize import Barrier

import pyarrow as pa
import pyarrow.compute as pc

import pillion

ROWS = 2_000_000
WORKERS = 8


def mapped(dir: str) -> tuple[int, int]:
    """Bytes of the files of a cache in this process: resident, and its share of them."""
    resident, share, counts = 0, 0, False
    for line in pathlib.Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            counts = line.endswith(".arrow") or (len(words) > 5 and words[5].startswith(dir))
        elif counts and words[0] == "Rss:":
            resident += int(words[1]) << 10
        elif counts and words[0] == "Pss:":
            share += int(words[1]) << 10
    return resident, share


def work(socket: str, dir: str, read: Barrier, results: multiprocessing.Queue[tuple[int, int]]) -> None:
    # Opened here: a fork of an open cache refuses calls.
    with pillion.connect(socket, attach="require") as cache:
        table = cache["numbers"]
        for _ in range(10_000):
            key = random.randrange(ROWS)
            assert table[key]["square"] == key * key
        whole = pa.table(table.scan())
        assert pc.sum(whole["id"]).as_py() == ROWS * (ROWS - 1) // 2
        pc.sum(whole["square"])
        # All have read, and nobody lets go before all have looked.
        read.wait()
        results.put(mapped(dir))
        read.wait()


def main(command: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dir, socket = f"{folder}/cache", f"{folder}/s.sock"
        config = pathlib.Path(folder, "pillion.toml")
        config.write_text(f'dir = "{dir}"\nsocket = "{socket}"\n')
        sidecar = subprocess.Popen([command, "serve", "--config", str(config)], stderr=subprocess.DEVNULL)
        try:
            with pillion.connect(socket, attach="never") as cache:
                ids = pa.array(range(ROWS))
                table = cache.create_table("numbers", pa.table({"id": ids, "square": pc.multiply(ids, ids)}), primary_key="id")
                cache.compact()
                print(f"{table.info().bytes / 1e6:.1f} MB on disk")
            context = multiprocessing.get_context("spawn")
            read, results = context.Barrier(WORKERS), context.Queue()
            workers = [context.Process(target=work, args=(socket, dir, read, results)) for _ in range(WORKERS)]
            for worker in workers:
                worker.start()
            sizes = [results.get() for _ in workers]
            for worker in workers:
                worker.join()
            resident, share = (sum(size[part] for size in sizes) / 1e6 for part in (0, 1))
            print(f"{WORKERS} workers map {resident:.1f} MB, and hold {share:.1f} MB of them together")
        finally:
            sidecar.kill()
            sidecar.wait()


if __name__ == "__main__":
    main(sys.argv[1])
