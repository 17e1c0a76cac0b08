"""Statements that change tables against a second engine: they do what they do in SQLite.

usage: statements.py PILLION [SECONDS]

Each round makes statements from a seed and runs them in SQLite, which says whether they succeed, and in `pillion sql`. The tables
are compared after every few statements. A failure prints the seed of its round; PILLION_TEST_SEED repeats it.
"""

import json
import os
import pathlib
import random
import sqlite3
import subprocess
import sys
import tempfile
import time

CREATE = "CREATE TABLE {} (id BIGINT NOT NULL, k VARCHAR NOT NULL, a BIGINT, b VARCHAR NOT NULL, PRIMARY KEY (id, k))"
ALL = "SELECT id, k, a, b FROM {} ORDER BY id, k"
TABLES = ["t", "u"]


def number(rng):
    return rng.choice(["NULL", "a", "(a + 1) % 1000", "a * 2 % 1000 - id", "length(b)", "coalesce(a, 7)", "id",
                       "CASE WHEN a > 3 THEN 0 ELSE a END", str(rng.randint(-5, 20)), "(SELECT max(a) FROM u)"])


def text(rng):
    return rng.choice(["b", "substr(b, 1, 5) || 'x'", "upper(b)", "'it''s'", "''", "k || b", "CASE WHEN a IS NULL THEN 'none' ELSE b END",
                       "substr(b, 2, 3)", "nullif(b, 'x')"])


def condition(rng, depth=0):
    kind = rng.randrange(11 if depth < 2 else 8)
    return [
        lambda: f"a {rng.choice(['<', '<=', '=', '<>', '>', '>='])} {rng.randint(-5, 20)}",
        lambda: f"id % 3 = {rng.randrange(3)}",
        lambda: f"a IS {rng.choice(['', 'NOT '])}NULL",
        lambda: f"b LIKE '{rng.choice(['x%', '%x', '_%', 'it%', ''])}'",
        lambda: f"id = {rng.randint(0, 30)} AND k = '{rng.choice('ab')}'",
        lambda: f"id IN ({rng.randint(0, 30)}, {rng.randint(0, 30)})",
        lambda: f"id {rng.choice(['', 'NOT '])}IN (SELECT id FROM {rng.choice(TABLES)} WHERE a > {rng.randint(0, 9)})",
        lambda: f"a = (SELECT max(a) FROM {rng.choice(TABLES)})",
        lambda: f"NOT ({condition(rng, depth + 1)})",
        lambda: f"({condition(rng, depth + 1)}) AND ({condition(rng, depth + 1)})",
        lambda: f"({condition(rng, depth + 1)}) OR ({condition(rng, depth + 1)})",
    ][kind]()


def row(rng):
    b = "NULL" if rng.random() < 0.03 else rng.choice(["'x'", "'xy'", "'X'", "'it''s'", "''"])
    a = rng.choice(["NULL", str(rng.randint(-5, 20))])
    return f"({rng.randint(0, 30)}, '{rng.choice('ab')}', {a}, {b})"


def statement(rng):
    table, other = rng.choice(TABLES), rng.choice(TABLES)
    where = f" WHERE {condition(rng)}" if rng.random() < 0.9 else ""
    kind = rng.randrange(20)
    if kind < 5:
        set_a, set_b = f"a = {number(rng)}", f"b = {text(rng)}"
        return f"UPDATE {table} SET {rng.choice([set_a, set_b, f'{set_a}, {set_b}'])}{where}"
    if kind < 8:
        return f"DELETE FROM {table}{where}"
    if kind < 10:
        rows = f"SELECT id + {rng.randint(0, 10)}, k, {number(rng)}, {text(rng)} FROM {other} WHERE {condition(rng)}"
    else:
        rows = "VALUES " + ", ".join(row(rng) for _ in range(rng.randint(1, 4)))
    clause = rng.choice(["", "", " ON CONFLICT DO NOTHING", " ON CONFLICT (id, k) DO NOTHING",
                         " ON CONFLICT (k, id) DO UPDATE SET a = EXCLUDED.a, b = excluded.b"])
    if rng.random() < 0.15:
        return f"REPLACE INTO {table} {rows}"
    return f"INSERT INTO {table} {rows}{clause}"


class Round:
    def __init__(self, pillion, seed, folder):
        self.pillion, self.rng, self.url = pillion, random.Random(seed), str(folder / "cache")
        self.sqlite = sqlite3.connect(":memory:", isolation_level=None)
        self.sqlite.execute("PRAGMA case_sensitive_like = 1")
        self.waiting = [CREATE.format(table) for table in TABLES]
        for create in self.waiting:
            self.sqlite.execute(create)
        self.done = self.refused = 0

    def run(self, statements):
        script = ";\n".join(statements).encode()
        return subprocess.run([self.pillion, "sql", "--url", self.url, "--format", "json"], input=script, capture_output=True)

    def compare(self):
        """Runs what waits, and compares every table."""
        done = self.run(self.waiting + [ALL.format(table) for table in TABLES])
        assert done.returncode == 0, f"{done.stderr.decode()}\nafter {self.waiting}"
        found = [json.loads(line) for line in done.stdout.decode().splitlines()]
        rows = [self.sqlite.execute(ALL.format(table)).fetchall() for table in TABLES]
        expected = [dict(zip("id k a b".split(), row)) for table in rows for row in table]
        found = [{name: row.get(name) for name in ("id", "k", "a", "b")} for row in found]
        assert found == expected, f"after {self.waiting}:\n{found}\nSQLite has\n{expected}"
        self.waiting = []

    def step(self):
        text = statement(self.rng)
        try:
            self.sqlite.execute(text)
        except sqlite3.Error as error:
            self.compare()
            done = self.run([text])
            assert done.returncode != 0, f"SQLite refuses `{text}` ({error}), and Pillion does not"
            self.refused += 1
            # Nothing of it may be there.
            self.compare()
        else:
            self.waiting.append(text)
            self.done += 1
            if len(self.waiting) >= 12:
                self.compare()


def main():
    pillion, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    given = os.environ.get("PILLION_TEST_SEED")
    end, seed, rounds, done, refused = time.monotonic() + seconds, int(given or random.randrange(1 << 32)), 0, 0, 0
    while True:
        with tempfile.TemporaryDirectory() as folder:
            a_round = Round(pillion, seed, pathlib.Path(folder))
            try:
                for _ in range(60):
                    a_round.step()
                a_round.compare()
            except AssertionError as error:
                sys.exit(f"PILLION_TEST_SEED={seed}: {error}")
        rounds, done, refused, seed = rounds + 1, done + a_round.done, refused + a_round.refused, seed + 1
        if given or time.monotonic() > end:
            break
    told = f"statements in Pillion and SQLite: {done} did the same, {refused} refused by both, in {rounds} rounds"
    print(told)
    if report := os.environ.get("PILLION_TEST_REPORT"):
        with open(report, "a") as file:
            print(told, file=file)


if __name__ == "__main__":
    main()
