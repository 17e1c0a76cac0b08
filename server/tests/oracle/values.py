"""Tables of generated values of every type, including values that readers of files tend to get wrong."""

import datetime
import decimal
import random
import struct

import pyarrow as pa

TEXTS = ["", " ", "a", "a,b", 'q"q', '""', "'", "\n", "\r", "\r\n", "two\nlines", " both sides ", "null", "NULL", "NaN",
         "\\N", "007", "-1", "1e5", "true", "2020-01-31", "é", "日本語", "\U0001f680", "e\u0301", "\ufeff", "\0", "x" * 3000]
DAY = 86_400


def bits(width, pattern):
    """A float of these bits."""
    return struct.unpack({4: "<f", 8: "<d"}[width], struct.pack({4: "<I", 8: "<Q"}[width], pattern))[0]


FLOATS = [0.0, -0.0, 1.5, -1e-300, 1e300, float("inf"), float("-inf"), float("nan"), 5e-324, 0.1, 2.0**53 + 2, 1 / 3]
FLOATS32 = [0.0, -0.0, 1.5, float("inf"), float("-inf"), float("nan"), bits(4, 1), bits(4, 0x7F7FFFFF), bits(4, 0x3DCCCCCD)]


def integers(bits_of, signed):
    low, high = (-(2 ** (bits_of - 1)), 2 ** (bits_of - 1) - 1) if signed else (0, 2**bits_of - 1)
    return lambda rng: rng.choice([low, high, 0, 1, low + 1, high - 1, rng.randint(low, high), rng.randint(0, 100)])


def ticks(per_second, low, high):
    """Moments from one second to another, in ticks."""
    return lambda rng: rng.choice([0, -1 if low < 0 else 1, low, high - 1, rng.randint(low, high) // per_second * per_second,
                                   rng.randint(low, high - 1)])


def decimals(precision, scale):
    def value(rng):
        digits = rng.choice([0, 1, 10**precision - 1, rng.randrange(10**precision), rng.randrange(1000)])
        with decimal.localcontext() as context:
            context.prec = 100
            return decimal.Decimal(rng.choice([1, -1]) * digits).scaleb(-scale)
    return value


def text(rng):
    return rng.choice(TEXTS) if rng.random() < 0.7 else "".join(rng.choice(TEXTS[:-1]) for _ in range(rng.randrange(5)))


def data(rng):
    return bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 5, 40])))


def types():
    """For each type: name, Arrow type, maker of values, and whether CSV can hold it, as `docs/types.md` says."""
    found = [("bool", pa.bool_(), lambda rng: rng.random() < 0.5, True), ("null", pa.null(), lambda rng: None, True)]
    for bits_of in (8, 16, 32, 64):
        found.append((f"int{bits_of}", getattr(pa, f"int{bits_of}")(), integers(bits_of, True), True))
        found.append((f"uint{bits_of}", getattr(pa, f"uint{bits_of}")(), integers(bits_of, False), True))
    found += [
        ("float32", pa.float32(), lambda rng: rng.choice(FLOATS32), True),
        ("float64", pa.float64(), lambda rng: rng.choice(FLOATS + [rng.random()]), True),
        ("decimal128", pa.decimal128(20, 4), decimals(20, 4), True),
        ("decimal128_wide", pa.decimal128(38, 38), decimals(38, 38), True),
        ("decimal256", pa.decimal256(76, 10), decimals(76, 10), True),
        ("date32", pa.date32(), lambda rng: rng.choice([0, -1, -719162, 2932896, rng.randrange(-30000, 30000)]), True),
        ("date64", pa.date64(), lambda rng: rng.choice([0, -1, rng.randrange(-30000, 30000)]) * DAY * 1000, True),
        ("text", pa.string(), text, True),
        ("large_text", pa.large_string(), text, True),
        ("bytes", pa.binary(), data, True),
        ("large_bytes", pa.large_binary(), data, True),
        ("fixed_bytes", pa.binary(3), lambda rng: bytes(rng.randrange(256) for _ in range(3)), True),
        ("list", pa.list_(pa.int32()), lambda rng: [rng.choice([None, 1, -5]) for _ in range(rng.randrange(4))], False),
        ("list_of_text", pa.large_list(pa.string()), lambda rng: [text(rng) for _ in range(rng.randrange(3))], False),
        ("struct", pa.struct([("a", pa.int64()), ("b", pa.string())]),
         lambda rng: {"a": rng.choice([None, 7]), "b": rng.choice([None, "", "b"])}, False),
        ("map", pa.map_(pa.string(), pa.int32()), lambda rng: [(str(n), n) for n in range(rng.randrange(3))], False),
    ]
    for unit, per_second in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        time = pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
        found.append((f"time_{unit}", time, ticks(per_second, 0, DAY * per_second), True))
        far = 9_000_000_000 if unit == "ns" else 60_000_000_000
        moments = ticks(per_second, -far * per_second, far * per_second)
        for zone in (None, "UTC", "+05:30", "Europe/Berlin"):
            name = f"timestamp_{unit}_{(zone or 'none').replace('/', '_')}"
            found.append((name, pa.timestamp(unit, tz=zone), moments, True))
        found.append((f"duration_{unit}", pa.duration(unit), ticks(per_second, -10**9, 10**9), False))
    return found


def of_ticks(data_type):
    """The integer type that stores values of a type, if there is one."""
    if pa.types.is_date32(data_type) or pa.types.is_time32(data_type):
        return pa.int32()
    if pa.types.is_temporal(data_type):
        return pa.int64()
    return None


def column(rng, data_type, make, rows):
    """A column with no, few, many or only nulls."""
    share = rng.choice([0.0, 0.1, 0.5, 1.0])
    values = [None if rng.random() < share else make(rng) for _ in range(rows)]
    stored = of_ticks(data_type)
    return pa.array(values, type=data_type) if stored is None else pa.array(values, type=stored).view(data_type)


def table(rng, for_csv):
    """Some rows of some columns, in some order, with their numbers in a column `row`."""
    rows = rng.choice([0, 1, 2, 50, 700, 3000])
    usable = [entry for entry in types() if entry[3] or not for_csv]
    chosen = rng.sample(usable, rng.randint(1, min(12, len(usable))))
    numbers = list(range(rows))
    if rng.random() < 0.5:
        rng.shuffle(numbers)
    columns = {"row": pa.array(numbers, type=pa.int64())}
    for name, data_type, make, _ in chosen:
        columns[name] = column(rng, data_type, make, rows)
    return pa.table(columns)
