"""Tables as lazy frames of polars, which reads only the columns and rows that a query needs."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import polars
from polars.io.plugins import register_io_source

from ._pillion import Cache, Table

# Comparisons as polars names them. Those that a NaN satisfies in polars are left out for floats: see `_condition`.
_COMPARISONS = {"Eq": "=", "NotEq": "<>", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">="}
_SAFE_FOR_FLOATS = {"=", "<", "<="}


def scan(cache: Cache, table: Table) -> polars.LazyFrame:
    """A lazy frame of a table. Each run of its query reads the version that is then newest."""
    schema = polars.DataFrame(_Empty(table)).schema

    def read(
        with_columns: list[str] | None,
        predicate: polars.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[polars.DataFrame]:
        del batch_size
        left = n_rows
        for batch in _answer(cache, table, schema, with_columns, predicate):
            frame = polars.DataFrame(batch)
            if predicate is not None:
                # Conditions were pushed down as far as both sides mean the same by them.
                frame = frame.filter(predicate)
            if with_columns is not None:
                frame = frame.select(with_columns)
            if left is not None:
                frame = frame.head(left)
                left -= frame.height
            yield frame
            if left == 0:
                return

    return register_io_source(io_source=read, schema=schema)


class _Empty:
    """No rows of a table, as Arrow."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.table.get_many([]).__arrow_c_stream__(requested_schema)


def _answer(
    cache: Cache,
    table: Table,
    schema: polars.Schema,
    with_columns: list[str] | None,
    predicate: polars.Expr | None,
) -> Any:
    columns = None if with_columns is None else list(with_columns)
    if columns is not None and predicate is not None:
        columns += [name for name in predicate.meta.root_names() if name not in columns]
    if predicate is not None:
        params: list[Any] = []
        condition = _pushed(predicate, schema, params)
        if condition is not None:
            names = ", ".join(_quoted(name) for name in (columns or schema.names()))
            return cache.sql(f"SELECT {names} FROM {_quoted(table.name)} WHERE {condition}", params)
    return table.scan(columns)


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _pushed(predicate: polars.Expr, schema: polars.Schema, params: list[Any]) -> str | None:
    """A condition of SQL that every row satisfies that satisfies the predicate; `None` if there is none."""
    try:
        tree = json.loads(predicate.meta.serialize(format="json"))
    except Exception:  # noqa: BLE001 - polars serializes most expressions; others are filtered here
        return None
    return _condition(tree, schema, params)


def _condition(tree: Any, schema: polars.Schema, params: list[Any]) -> str | None:
    binary = tree.get("BinaryExpr") if isinstance(tree, dict) else None
    if not isinstance(binary, dict):
        return None
    left, op, right = binary["left"], binary["op"], binary["right"]
    if op in ("And", "LogicalAnd"):
        # One side alone rules out rows too.
        sides = [side for side in (_condition(left, schema, params), _condition(right, schema, params)) if side]
        return " AND ".join(f"({side})" for side in sides) or None
    if op in ("Or", "LogicalOr"):
        before = len(params)
        one, other = _condition(left, schema, params), _condition(right, schema, params)
        if one is None or other is None:
            del params[before:]
            return None
        return f"({one}) OR ({other})"
    sign = _COMPARISONS.get(op)
    if sign is None:
        return None
    column, literal = _column(left), _literal(right)
    if column is None:
        # `5 < x` is `x > 5`.
        column, literal = _column(right), _literal(left)
        sign = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(sign, sign)
    if column is None or literal is None or column not in schema:
        return None
    of, (value,) = schema[column], literal
    if of.is_float() and (sign not in _SAFE_FOR_FLOATS or value != value):
        return None
    if not _are_alike(of, value):
        return None
    params.append(value)
    return f"{_quoted(column)} {sign} ${len(params)}"


def _are_alike(of: polars.DataType, value: object) -> bool:
    """Whether a column of this type and such a value compare in SQL as they do in polars."""
    if isinstance(value, bool):
        return of == polars.Boolean
    if isinstance(value, int):
        return of.is_integer() and -(2**63) <= value < 2**63
    if isinstance(value, float):
        return of == polars.Float64
    if isinstance(value, str):
        return of == polars.String
    return type(value) is datetime.date and of == polars.Date


def _column(tree: Any) -> str | None:
    name = tree.get("Column") if isinstance(tree, dict) else None
    return name if isinstance(name, str) else None


def _literal(tree: Any) -> tuple[Any] | None:
    """The value of a literal, in a tuple; `None` for those whose form is not known."""
    value = tree.get("Literal") if isinstance(tree, dict) else None
    while isinstance(value, dict) and len(value) == 1:
        (kind, inner), *_ = value.items()
        if kind == "Date" and isinstance(inner, int):
            return (datetime.date(1970, 1, 1) + datetime.timedelta(days=inner),)
        if kind not in {"Dyn", "Scalar", "Int", "Float", "Str", "String", "StringOwned", "Boolean", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64"}:
            return None
        value = inner
    return (value,) if isinstance(value, (bool, int, float, str)) else None
