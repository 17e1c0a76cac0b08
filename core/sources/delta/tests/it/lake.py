"""Writes tables of Delta Lake for the tests: runs the text on its standard input with the names below.

Tables are written by delta-rs. What it cannot write, such as deletion vectors, is written here by the protocol's own words.
"""

import datetime as dt
import decimal
import glob
import json
import os
import struct
import sys
import uuid
import zlib

import deltalake as delta
import pyarrow as pa

ROOT = sys.argv[1]
OPTIONS = json.loads(os.environ.get("LAKE_OPTIONS", "{}"))
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def place(name):
    return f"{ROOT}/{name}" if name else ROOT


def table(name, version=None):
    return delta.DeltaTable(place(name), version=version, storage_options=OPTIONS)


def write(name, columns, mode="append", **options):
    rows = columns if isinstance(columns, pa.Table) else pa.table(columns)
    delta.write_deltalake(place(name), rows, mode=mode, storage_options=OPTIONS, **options)


def numbers(first, count):
    ids = range(first, first + count)
    return pa.table({"id": pa.array(ids, pa.int64()), "text": pa.array([f"text {number}" for number in ids], pa.string())})


def log(name, version):
    return f"{place(name)}/_delta_log/{version:020}.json"


def actions(name, version):
    with open(log(name, version)) as file:
        return [json.loads(line) for line in file]


def commit(name, *actions):
    """Adds a commit behind the last one."""
    version = 1 + max(int(os.path.basename(path)[:20]) for path in glob.glob(f"{place(name)}/_delta_log/*.json"))
    with open(log(name, version), "x") as file:
        file.write("".join(json.dumps(action) + "\n" for action in actions))
    return version


def files(name):
    return sorted(delta.DeltaTable(place(name)).file_uris())


def z85(data):
    text = ""
    for (number,) in struct.iter_unpack(">I", data):
        five = ""
        for _ in range(5):
            number, digit = divmod(number, 85)
            five = DIGITS[digit] + five
        text += five
    return text


def bitmap(rows):
    """A serialized bitmap of up to 4096 rows below 65536."""
    container = struct.pack("<IIHHI", 12346, 1, 0, len(rows) - 1, 16)
    values = b"".join(struct.pack("<H", row) for row in sorted(rows))
    return struct.pack("<IQI", 1681511377, 1, 0) + container + values


def vector(name, rows, is_file):
    """The descriptor of a deletion vector."""
    data = bitmap(rows)
    descriptor = {"sizeInBytes": len(data), "cardinality": len(rows)}
    if not is_file:
        return descriptor | {"storageType": "i", "pathOrInlineDv": z85(data)}
    number = uuid.uuid4()
    with open(f"{place(name)}/deletion_vector_{number}.bin", "xb") as file:
        file.write(b"\x01" + struct.pack(">I", len(data)) + data + struct.pack(">I", zlib.crc32(data)))
    return descriptor | {"storageType": "u", "pathOrInlineDv": z85(number.bytes), "offset": 1}


def delete_rows(name, path, rows, is_file=False):
    """Deletes rows of a file, by their numbers, with a deletion vector."""
    versions = range(1 + table(name).version())
    adds = [action["add"] for version in versions for action in actions(name, version) if "add" in action]
    add = [add for add in adds if path.endswith(add["path"])][-1]
    protocol = {
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": ["deletionVectors"],
        "writerFeatures": ["deletionVectors"],
    }
    remove = {"path": add["path"], "deletionTimestamp": 1, "dataChange": True}
    if "deletionVector" in add and add["deletionVector"]:
        remove["deletionVector"] = add["deletionVector"]
    add = add | {"deletionVector": vector(name, rows, is_file)}
    return commit(name, {"protocol": protocol}, {"remove": remove}, {"add": add})


def answer(name, path, version=None):
    """Writes the rows that delta-rs itself reads, as Arrow IPC."""
    query = delta.QueryBuilder().register("t", table(name, version)).execute("SELECT * FROM t")
    rows = pa.table(query)
    with pa.ipc.new_stream(path, rows.schema) as writer:
        writer.write_table(rows)


exec(compile(sys.stdin.read(), "the test", "exec"))
