"""Time zones and intervals of columns as Python objects."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from typing import NamedTuple

_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?")


class Interval(NamedTuple):
    """A span of calendar time: months, days and nanoseconds, which do not convert into each other."""

    months: int
    days: int
    nanoseconds: int


def zone(name: str) -> datetime.tzinfo:
    """The time zone that a column names: one of the IANA database, or an offset such as ``+01:00``."""
    if name in ("UTC", "Z"):
        return datetime.timezone.utc
    offset = _OFFSET.fullmatch(name)
    if offset is None:
        return zoneinfo.ZoneInfo(name)
    sign, hours, minutes = offset.groups()
    ahead = datetime.timedelta(hours=int(hours), minutes=int(minutes or 0))
    return datetime.timezone(-ahead if sign == "-" else ahead)
