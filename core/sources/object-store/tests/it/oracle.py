"""Writes data sets and, for each, what pyarrow reads of it: prints lines `pattern expected-file`.

usage: oracle.py SEED
"""

import datetime
import decimal
import pathlib
import random
import sys

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq

rng = random.Random(int(sys.argv[1]))


def column(kind, rows):
    make = {
        "int64": lambda: rng.choice([0, -1, 2**63 - 1, -(2**63), rng.randrange(-1000, 1000)]),
        "int16": lambda: rng.randrange(-(2**15), 2**15),
        "uint32": lambda: rng.randrange(0, 2**32),
        "float64": lambda: rng.choice([0.0, -0.0, 1e300, rng.random()]),
        "string": lambda: rng.choice(["", "a", "ü" * rng.randrange(1, 50), '"quoted", with\nlines', "NULL"]),
        "binary": lambda: rng.randbytes(rng.randrange(0, 20)),
        "bool": lambda: rng.random() < 0.5,
        "date": lambda: datetime.date(1900, 1, 1) + datetime.timedelta(rng.randrange(0, 80000)),
        "timestamp": lambda: datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=rng.randrange(-(2**50), 2**50)),
        "decimal": lambda: decimal.Decimal(rng.randrange(-(10**12), 10**12)).scaleb(-3),
        "list": lambda: [rng.randrange(10) for _ in range(rng.randrange(3))],
    }[kind]
    types = {"string": pa.string(), "binary": pa.binary(), "bool": pa.bool_(), "date": pa.date32(), "timestamp": pa.timestamp("us"),
             "decimal": pa.decimal128(20, 3), "list": pa.list_(pa.int64())}
    of = types.get(kind) or getattr(pa, kind)()
    nulls = rng.choice([0, 0.1, 1])
    return pa.array([None if rng.random() < nulls else make() for _ in range(rows)], of)


KINDS = ["int64", "int16", "uint32", "float64", "string", "binary", "bool", "date", "timestamp", "decimal", "list"]


def table(rows, kinds=KINDS):
    columns = {"row": pa.array(range(rows), pa.int64())}
    columns |= {kind: column(kind, rows) for kind in rng.sample(kinds, rng.randrange(1, len(kinds) + 1))}
    return pa.table(columns)


def expect(pattern, found):
    path = f"expected-{pattern.split('/')[0]}.arrow"
    with pa.ipc.new_file(path, found.schema.remove_metadata()) as writer:
        writer.write_table(found.replace_schema_metadata(None))
    print(pattern, path)


for number in range(12):
    rows = rng.choice([0, 1, 10, 1000, 20000])
    folder = pathlib.Path(f"parquet{number}")
    folder.mkdir()
    pq.write_table(table(rows), folder / "a.parquet", row_group_size=rng.choice([1, 100, 5000]) if rows < 2000 else 5000,
                   compression=rng.choice(["none", "snappy", "zstd", "gzip", "lz4", "brotli"][:5]), use_dictionary=rng.random() < 0.5,
                   data_page_version=rng.choice(["1.0", "2.0"]), store_schema=rng.random() < 0.7,
                   write_statistics=rng.random() < 0.7, data_page_size=rng.choice([64, 1 << 20]))
    expect(f"{folder}/*.parquet", pq.read_table(folder / "a.parquet", partitioning=None))


def encoded(of):
    """The same values, some as dictionaries, as pandas and polars write categories."""
    for index, field in enumerate(of.schema):
        if field.type in (pa.string(), pa.binary(), pa.int64()) and field.name != "row" and rng.random() < 0.7:
            of = of.set_column(index, field.name, of[index].dictionary_encode())
    return of


def with_runs(of):
    for index, field in enumerate(of.schema):
        if field.type in (pa.int16(), pa.float64(), pa.bool_()):
            runs = pyarrow.compute.run_end_encode(of[index])
            of = of.set_column(index, field.name, runs)
        if field.type == pa.list_(pa.int64()):
            whole = of[index].combine_chunks()
            inner = whole.values.dictionary_encode()
            mask = whole.is_null() if whole.null_count else None
            of = of.set_column(index, field.name, pa.ListArray.from_arrays(whole.offsets, inner, mask=mask))
    return of


for number in range(8):
    rows = rng.choice([1, 10, 20000])
    folder = pathlib.Path(f"encoded{number}")
    folder.mkdir()
    plain = table(rows)
    if number % 2:
        pq.write_table(encoded(plain), folder / "a.parquet", store_schema=rng.random() < 0.7)
        # With the types of Parquet, which names the elements of lists otherwise.
        plain = pq.read_table(folder / "a.parquet", partitioning=None)
        for index, field in enumerate(plain.schema):
            if pa.types.is_dictionary(field.type):
                plain = plain.set_column(index, field.name, plain[index].cast(field.type.value_type))
    else:
        written = with_runs(encoded(plain))
        is_stream, codec = number % 4 == 0, [None, "lz4", "zstd", "zstd"][number // 2]
        opener = pa.ipc.new_stream if is_stream else pa.ipc.new_file
        options = pa.ipc.IpcWriteOptions(compression=codec)
        with opener(folder / ("a.arrows" if is_stream else "a.arrow"), written.schema, options=options) as writer:
            writer.write_table(written, max_chunksize=rng.choice([100, 30000]))
    expect(f"{folder}/*", plain)

for number in range(4):
    rows = rng.choice([10, 1000])
    written = table(rows).append_column("year", pa.array([rng.randrange(2010, 2013) for _ in range(rows)], pa.int64()))
    written = written.append_column("city", pa.array([rng.choice(["a b", "x/y", "50%", "ü"]) for _ in range(rows)]))
    name = f"hive{number}"
    flavor = ds.partitioning(pa.schema([("year", pa.int64()), ("city", pa.string())]), flavor="hive")
    ds.write_dataset(written, name, format="parquet", partitioning=flavor, max_rows_per_file=50, max_rows_per_group=50)
    # Files in the order of their names, as pyarrow does not promise to read them.
    files = sorted(str(path) for path in pathlib.Path(name).rglob("*.parquet"))
    expect(f"{name}/**", pa.concat_tables([ds.dataset(file, partitioning=flavor).to_table() for file in files]))

for number in range(4):
    rows = rng.choice([50, 5000])
    written = table(rows, ["int64", "float64", "bool", "date"])
    folder = pathlib.Path(f"csv{number}")
    folder.mkdir()
    full = pa.table({name: values for name, values in zip(written.column_names, written.columns) if values.null_count < rows})
    pyarrow.csv.write_csv(full, folder / "a.csv", pyarrow.csv.WriteOptions(delimiter=rng.choice(",;\t|")))
    expect(f"{folder}/*.csv", full)
