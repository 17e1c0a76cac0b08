"""A cache for each test, reached in every way: embedded, attached and remote."""

from __future__ import annotations

import faulthandler
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pillion
import sidecars
from sidecars import WAYS

faulthandler.enable()

FLIGHTS = [
    {"carrier": "UA", "flight": 1545, "delay": 2.0, "origin": "EWR"},
    {"carrier": "UA", "flight": 1714, "delay": 4.0, "origin": "LGA"},
    {"carrier": "AA", "flight": 1141, "delay": None, "origin": "JFK"},
]


class Sidecar(sidecars.Sidecar):
    """A sidecar, and clients of it."""

    def connect(self, **options: Any) -> pillion.Cache:
        """A client; waits until the sidecar has started."""
        return pillion.connect(f"unix:{self.socket}", **options)


@pytest.fixture
def sidecar(tmp_path: pathlib.Path) -> Iterator[Sidecar]:
    """A sidecar of this test."""
    running = Sidecar(tmp_path)
    yield running
    running.stop()


@pytest.fixture(params=WAYS)
def cache(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[pillion.Cache]:
    """A cache without tables, in each way."""
    if request.param == "embedded":
        with pillion.open(tmp_path / "cache") as opened:
            yield opened
        return
    running: Sidecar = request.getfixturevalue("sidecar")
    attach = "require" if request.param == "attached" else "never"
    with running.connect(attach=attach) as opened:
        assert opened.way == request.param
        yield opened


@pytest.fixture
def embedded(tmp_path: pathlib.Path) -> Iterator[pillion.Cache]:
    """A cache without tables that this process owns."""
    with pillion.open(tmp_path / "embedded") as opened:
        yield opened


@pytest.fixture
def flights(cache: pillion.Cache) -> pillion.Table:
    """The table `flights` in each way."""
    return cache.create_table("flights", FLIGHTS, primary_key=["carrier", "flight"])


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits until something is so; the time limit of the tests is the only one."""
    while not condition():
        time.sleep(0.005)
