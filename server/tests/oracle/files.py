"""Files against a second reader: what `pillion` loads and exports is what pyarrow reads.

usage: files.py PILLION [SECONDS]

Each round makes a file from a seed, has `pillion` load it and export it again, and compares both files, and the segments of
the cache, value by value. A failure prints the seed of its round and keeps its files; PILLION_TEST_SEED repeats it.
"""

import csv
import datetime
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet as pq

import values

csv.field_size_limit(1 << 30)


class Counts:
    files = rows = 0


def run(pillion, folder, *arguments):
    done = subprocess.run([pillion, *arguments, "--url", str(folder / "cache")], capture_output=True, cwd=folder)
    assert done.returncode == 0, f"{arguments}: {done.stderr.decode()}"


def in_order(table):
    if table.num_rows == 0 or "row" not in table.column_names or pc.all(pc.equal(table["row"], pa.array(range(table.num_rows)))).as_py():
        return table
    return table.take(pc.sort_indices(table["row"]))


def comparable(column):
    """One array whose equality is that of bits: a float is equal to itself."""
    array = column.combine_chunks()
    array = array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks or [pa.array([], type=array.type)])
    width = {pa.float16(): pa.int16(), pa.float32(): pa.int32(), pa.float64(): pa.int64()}.get(array.type)
    return array.view(width) if width else array


def same(found, expected, what):
    """Fails unless two tables hold the same: names, types and every value."""
    Counts.files += 1
    Counts.rows += expected.num_rows
    assert sorted(found.column_names) == sorted(expected.column_names), f"{what}: {found.column_names}"
    found, expected = in_order(found), in_order(expected)
    for name in expected.column_names:
        left, right = found[name], expected[name]
        assert left.type == right.type, f"{what}: column {name} has type {left.type} and not {right.type}"
        left, right = comparable(left), comparable(right)
        if not left.equals(right):
            rows = [row for row in range(max(len(left), len(right))) if left[row : row + 1] != right[row : row + 1]]
            shown = [(row, str(left[row : row + 1]), str(right[row : row + 1])) for row in rows[:3]]
            raise AssertionError(f"{what}: column {name} of type {expected[name].type}: (row, found, expected) {shown}")


def write(rng, table, folder):
    """A file of the rows in Parquet or Arrow IPC, in one of the ways in which such files are written."""
    kind = rng.choice(["parquet", "arrow", "arrows"])
    path = folder / f"in.{kind}"
    chunk = rng.choice([1, 100, 1000, 1 << 20]) if table.num_rows < 1000 else rng.choice([300, 1000, 1 << 20])
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=chunk, compression=rng.choice(["none", "snappy", "zstd", "gzip", "lz4"]),
                       use_dictionary=rng.random() < 0.5, data_page_version=rng.choice(["1.0", "2.0"]),
                       store_schema=rng.random() < 0.7, write_statistics=rng.random() < 0.7,
                       data_page_size=rng.choice([64, 1 << 20]))
    else:
        opener = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        options = pa.ipc.IpcWriteOptions(compression=rng.choice([None, "lz4", "zstd"]))
        with opener(path, table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=chunk)
    return path


def read(path):
    if path.suffix == ".parquet":
        return pq.ParquetFile(path).read()
    with pa.OSFile(str(path)) as file:
        opener = pa.ipc.open_stream if path.suffix == ".arrows" else pa.ipc.open_file
        return opener(file).read_all()


def segments(folder):
    """The rows of the files of the cache, as any reader of Arrow finds them."""
    tables = [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in (folder / "cache/tables").glob("*/*.arrow")]
    return pa.concat_tables(tables) if tables else None


def encoded(rng, table):
    """The same values, some columns as dictionaries, as pandas and polars write categories."""
    for index, field in enumerate(table.schema):
        # Parquet knows only one type of text, which pyarrow then finds in a dictionary of large texts too.
        is_text = pa.types.is_string(field.type) or pa.types.is_binary(field.type)
        if is_text and rng.random() < 0.3:
            table = table.set_column(index, field.name, table[index].dictionary_encode())
    return table


def plain(table):
    """The values of dictionaries, which is what a table of `pillion` holds."""
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(index, field.name, table[index].cast(field.type.value_type))
    return table


def binary_round(rng, pillion, folder):
    table = encoded(rng, values.table(rng, for_csv=False))
    path = write(rng, table, folder)
    expected = plain(from_parquet(path, table.schema) if path.suffix == ".parquet" else read(path))
    order = rng.choice([["--primary-key", "row"], ["--sort-by", "row"], ["--sort-by", rng.choice(sortable(expected))]])
    run(pillion, folder, "load", "t", path.name, *order)
    if expected.num_rows:
        same(segments(folder), expected, f"segments of {path.name}")
    for ending in ("parquet", "arrow", "arrows"):
        run(pillion, folder, "export", "t", "--output", f"out.{ending}")
        found = read(folder / f"out.{ending}")
        same(found, in_parquet(expected) if ending == "parquet" else expected, f"{path.name} to {ending}")


def from_parquet(path, written):
    """The rows of a file, with columns that Parquet has no type for as Arrow for Rust reads them: it makes days Date64 again
    if the file's Arrow schema says so, and reads a time zone of a column in seconds as UTC. The moments are the same."""
    table = read(path)
    has_schema = b"ARROW:schema" in (pq.read_metadata(path).metadata or {})
    for index, field in enumerate(written):
        if pa.types.is_timestamp(field.type) and field.type.unit == "s" and field.type.tz:
            table = table.set_column(index, field.name, table[index].cast(pa.timestamp("ms", tz="UTC")))
        if pa.types.is_date64(field.type) and has_schema:
            table = table.set_column(index, field.name, table[index].cast(pa.date64()))
    return table


def in_parquet(table):
    """The table as pyarrow reads it from Parquet: columns without a Parquet type are integers, because pyarrow ignores Arrow's
    schema in the file, which has their types."""
    for index, field in enumerate(table.schema):
        seconds = pa.types.is_timestamp(field.type) and field.type.unit == "s"
        stored = pa.int64() if seconds or pa.types.is_date64(field.type) else None
        stored = pa.int32() if field.type == pa.time32("s") else stored
        if stored:
            chunks = [chunk.view(stored) for chunk in table[index].chunks]
            table = table.set_column(index, field.name, pa.chunked_array(chunks, type=stored))
    return table


def sortable(table):
    return [field.name for field in table.schema if not pa.types.is_nested(field.type)]


def csv_round(rng, pillion, folder):
    """Rows through CSV: written by pyarrow and read by `pillion`, and the other way round."""
    table = values.table(rng, for_csv=True)
    if rng.random() < 0.2 and table.num_rows:
        table = table.select([table.column_names[-1]])
    with pa.ipc.new_file(folder / "types.arrow", table.schema):
        pass
    run(pillion, folder, "load", "typed", "types.arrow")
    with pa.ipc.new_file(folder / "rows.arrow", table.schema) as writer:
        writer.write_table(table)
    run(pillion, folder, "load", "t", "rows.arrow")
    run(pillion, folder, "export", "t", "--output", "out.csv")
    run(pillion, folder, "export", "t", "--output", "order.arrow")
    # Without a column to sort by, the order is that of the other export.
    expected = read(folder / "order.arrow")
    read_by_others(folder / "out.csv", expected)
    run(pillion, folder, "load", "typed", "out.csv", "--append")
    run(pillion, folder, "export", "typed", "--output", "back.arrow")
    back = read(folder / "back.arrow")
    if "row" in table.column_names:
        same(back, table, "through CSV and back")
    else:
        found, wanted = (table.take(pc.sort_indices(comparable(table[0]))) for table in (back, table))
        same(found, wanted, "one column through CSV and back")
    written_by_pyarrow(rng, pillion, folder, table)
    inferred(pillion, folder, folder / "out.csv")


def read_by_others(path, expected):
    """What `pillion` wrote is read by Python's csv module and by pyarrow."""
    names = expected.column_names
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, strict=True)
    assert header == names, header
    rows = [row or [""] for row in rows]
    assert len(rows) == expected.num_rows, f"{len(rows)} rows of CSV and not {expected.num_rows}"
    for index, name in enumerate(names):
        data_type = expected[name].type
        if pa.types.is_string(data_type) or pa.types.is_large_string(data_type):
            texts = [value or "" for value in expected[name].to_pylist()]
            assert [row[index] for row in rows] == texts, f"column {name} by Python"
        if pa.types.is_binary(data_type) or pa.types.is_large_binary(data_type):
            assert [bytes.fromhex(row[index]) for row in rows] == [value or b"" for value in expected[name].to_pylist()], name
    # `pillion` writes bytes as text, which pyarrow takes literally; it does not convert the other types.
    left_out = [field.name for field in expected.schema
                if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type) or field.type == pa.binary(3)
                or pa.types.is_null(field.type) or pa.types.is_decimal256(field.type) or pa.types.is_date64(field.type)]
    column_types = {field.name: field.type for field in expected.schema if field.name not in left_out}
    read = pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(names) > 1),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=column_types | {name: pa.string() for name in left_out}, null_values=[""],
            strings_can_be_null=True, quoted_strings_can_be_null=False, true_values=["true"], false_values=["false"]))
    kept = [name for name in names if name in column_types]
    if kept:
        same(read.select(kept), expected.select(kept), "CSV of pillion by pyarrow") if "row" in kept else None


def written_by_pyarrow(rng, pillion, folder, table):
    """What pyarrow wrote is loaded."""
    # It writes bytes as they are, and offsets that had seconds without them.
    kept = [field.name for field in table.schema
            if not (pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type) or field.type == pa.binary(3)
                    or pa.types.is_timestamp(field.type) and field.type.tz == "Europe/Berlin")]
    if "row" not in kept:
        return
    table = table.select(kept)
    options = pyarrow.csv.WriteOptions(quoting_style=rng.choice(["needed", "all_valid"]), batch_size=rng.choice([1, 100, 1024]))
    pyarrow.csv.write_csv(table, folder / "pyarrow.csv", options)
    with pa.ipc.new_file(folder / "kept.arrow", table.schema):
        pass
    run(pillion, folder, "load", "kept", "kept.arrow", "--sort-by", "row")
    run(pillion, folder, "load", "kept", "pyarrow.csv", "--append")
    run(pillion, folder, "export", "kept", "--output", "kept_back.arrow")
    same(read(folder / "kept_back.arrow"), table, "CSV of pyarrow")


def inferred(pillion, folder, path):
    """Inferred types hold what the fields say."""
    run(pillion, folder, "load", "inferred", path.name)
    run(pillion, folder, "export", "inferred", "--output", "inferred.arrow")
    found = read(folder / "inferred.arrow")
    with open(path, newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file, strict=True)
    if "row" not in found.column_names:
        return
    found = in_order(found)
    number = found.column_names.index("row")
    rows.sort(key=lambda row: int(row[number]))
    for index, column in enumerate(found.columns):
        data_type = column.type
        stored = column.cast(pa.string()) if pa.types.is_timestamp(data_type) else column
        for row, value in zip(rows, stored.to_pylist()):
            assert says(row[index], value, data_type), f"inferred {data_type}: {row[index]!r} became {value!r}"
    Counts.files += 1
    Counts.rows += len(rows)


def says(field, value, data_type):
    if value is None or field == "":
        return field == "" and value in (None, "")
    if isinstance(value, bool):
        return field == str(value).lower()
    if isinstance(value, int):
        return field == str(value)
    if isinstance(value, float):
        return float(field) == value or (value != value and field == "NaN")
    if isinstance(value, datetime.date):
        return field == value.isoformat()
    if pa.types.is_timestamp(data_type):
        unit = "ns" if data_type.tz is None else data_type.unit
        told = pa.array([field.replace("T", " ")]).cast(pa.timestamp(data_type.unit, tz=data_type.tz))
        return told.cast(pa.string()).to_pylist() == [value] and unit is not None
    return field == value


def report(line):
    print(line)
    path = os.environ.get("PILLION_TEST_REPORT")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def main():
    pillion = str(pathlib.Path(sys.argv[1]).resolve())
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 8
    given = os.environ.get("PILLION_TEST_SEED")
    seed = int(given) if given else random.SystemRandom().randrange(1 << 32)
    end, rounds = time.monotonic() + seconds, 0
    # Two rounds at least: one of each kind.
    while rounds < 2 or (time.monotonic() < end and not (given and rounds >= 2)):
        for kind in (binary_round, csv_round):
            folder = pathlib.Path(tempfile.mkdtemp(prefix="pillion-oracle-"))
            try:
                kind(random.Random(f"{seed} {kind.__name__}"), pillion, folder)
            except BaseException:
                print(f"PILLION_TEST_SEED={seed} {kind.__name__}, files in {folder}", file=sys.stderr)
                raise
            shutil.rmtree(folder)
            rounds += 1
        seed += 1
    report(f"files against pyarrow {pa.__version__}: {Counts.files} comparisons of {Counts.rows} rows in {rounds} rounds, "
           f"the last of seed {seed - 1}")


if __name__ == "__main__":
    main()
