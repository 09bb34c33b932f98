"""The demo's flights as a table, for everybody who exports them."""

from sqlalchemy import Column, Integer, MetaData, Table, Text

TEXTS = frozenset({"carrier", "tailnum", "origin", "dest", "time_hour"})
NAMES = (
    *("year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time"),
    *("arr_delay", "carrier", "flight", "tailnum", "origin", "dest", "air_time", "distance", "hour"),
    *("minute", "time_hour"),
)

flights = Table(
    "flights",
    MetaData(),
    Column("id", Integer, primary_key=True),
    *(Column(name, Text if name in TEXTS else Integer) for name in NAMES),
)
