"""What a client process does on each side: the same calls and the same jobs, in that side's words.

Rules:
- `pair` returns one callable; what it does is named by `work`, and is the same on every side.
- A side's packages are imported when it is used, so that each can be measured where the others are not.
"""

from __future__ import annotations

import os
from importlib import import_module

from tests.bench.stations.base import URL_VARIABLE, WORKERS, Address, Station

__all__ = ["STATIONS", "WORKERS", "Station", "open_station"]

STATIONS = {
    "bare": "bare:Bare",
    "plain": "plain:Plain",
    "stock": "stock:Stock",
    "ours": "ours:Ours",
    "pipes": "pipes:Pipes",
    "redis": "redis_lists:RedisLists",
    "celery": "celery_jobs:CeleryJobs",
    "rq": "rq_jobs:RqJobs",
    "dramatiq": "dramatiq_jobs:DramatiqJobs",
    "dask": "dask_jobs:DaskJobs",
    "ray": "ray_jobs:RayJobs",
}


def open_station(name: str, address: Address) -> Station:
    """Return this side's client, connected."""
    module, _, found = STATIONS[name].partition(":")
    os.environ[URL_VARIABLE] = f"redis://{address[0]}:{address[1]}/0"
    return getattr(import_module(f"tests.bench.stations.{module}"), found)(address)  # type: ignore[no-any-return]
