"""A connection for each test, in each way in: embedded, attached and remote, by the URI alone."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from adbc_driver_manager import dbapi

from sidecars import WAYS, Sidecar

FLIGHTS = pa.table(
    {
        "carrier": ["UA", "UA", "AA"],
        "flight": pa.array([1545, 1714, 1141], pa.int64()),
        "delay": [2.0, 4.0, None],
    }
)


def connect(uri: str, **options: Any) -> dbapi.Connection:
    """A connection of the driver that the manifest names."""
    return dbapi.connect(driver="pillion", uri=uri, autocommit=True, **options)


@pytest.fixture
def sidecar(tmp_path: pathlib.Path) -> Iterator[Sidecar]:
    """A sidecar of this test."""
    running = Sidecar(tmp_path)
    yield running
    running.stop()


@pytest.fixture(params=WAYS)
def uri(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """The URI of a cache without tables, in each way."""
    if request.param == "embedded":
        return f"file:{tmp_path / 'own'}"
    running: Sidecar = request.getfixturevalue("sidecar")
    return f"unix:{running.socket}?attach={'require' if request.param == 'attached' else 'never'}"


@pytest.fixture
def connection(uri: str) -> Iterator[dbapi.Connection]:
    """A connection to a cache without tables, in each way."""
    with connect(uri) as opened:
        yield opened


@pytest.fixture
def flights(connection: dbapi.Connection) -> dbapi.Connection:
    """A connection to a cache with the table `flights`."""
    with connection.cursor() as cursor:
        cursor.adbc_statement.set_options(**{"pillion.ingest.primary_key": "carrier,flight"})
        assert cursor.adbc_ingest("flights", FLIGHTS) == 3
    return connection


@pytest.fixture
def embedded(tmp_path: pathlib.Path) -> Iterator[dbapi.Connection]:
    """A connection to a cache without tables that this process owns."""
    with connect(str(tmp_path / "embedded")) as opened:
        yield opened
