"""The 22 queries of TPC-H against a second engine: the answers are DuckDB's.

usage: tpch.py PILLION GENERATOR [SCALE]

GENERATOR is the program `tpchgen-cli`. The queries are those of the specification with its validation parameters, in `tpch/`.
DuckDB's averages and quotients of decimals are floats: such numbers are compared as far as the decimal's digits go, floats with 12
digits, and everything else exactly.
"""

import decimal
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import duckdb
import pyarrow as pa
import pyarrow.ipc

KEYS = {
    "nation": "n_nationkey", "region": "r_regionkey", "part": "p_partkey", "supplier": "s_suppkey", "customer": "c_custkey",
    "orders": "o_orderkey", "partsupp": "ps_partkey,ps_suppkey", "lineitem": "l_orderkey,l_linenumber",
}


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, **options)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    return done.stdout


def same(left, right):
    if isinstance(right, float) and isinstance(left, decimal.Decimal):
        # Pillion cuts off what the scale has no room for.
        return abs(left - decimal.Decimal(right)) <= decimal.Decimal(1).scaleb(left.as_tuple().exponent)
    if isinstance(right, float) and isinstance(left, float):
        return math.isclose(left, right, rel_tol=1e-12)
    return left == right


def main():
    pillion, generator, scale = sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "0.1"
    queries = sorted((pathlib.Path(__file__).parent / "tpch").glob("q*.sql"))
    assert len(queries) == 22
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        run(generator, "parquet", "-s", scale, f"--output-dir={folder}")
        engine = duckdb.connect()
        for table, key in KEYS.items():
            engine.execute(f"CREATE VIEW {table} AS SELECT * FROM '{folder}/{table}.parquet'")
            run(pillion, "load", "--url", folder / "cache", "--primary-key", key, table, folder / f"{table}.parquet")
        rows, started = 0, time.monotonic()
        for path in queries:
            text = path.read_text()
            expected = engine.execute(text).fetchall()
            answer = run(pillion, "sql", "--url", folder / "cache", "--format", "arrow", text)
            found = pa.ipc.open_stream(answer).read_all()
            assert found.column_names == [column[0] for column in engine.description], f"{path.name}: {found.column_names}"
            found = list(zip(*(column.to_pylist() for column in found.columns)))
            assert len(found) == len(expected), f"{path.name}: {len(found)} rows, and DuckDB has {len(expected)}"
            for row, (left, right) in enumerate(zip(found, expected)):
                assert all(map(same, left, right)), f"{path.name}, row {row}: {left}, and DuckDB has {right}"
            rows += len(found)
    told = f"TPC-H at scale {scale}: 22 queries answered as by DuckDB {duckdb.__version__} ({rows} rows)"
    print(f"{told} in {time.monotonic() - started:.0f} s")
    if report := os.environ.get("PILLION_TEST_REPORT"):
        with open(report, "a") as file:
            print(told, file=file)


if __name__ == "__main__":
    main()
