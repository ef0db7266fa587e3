"""A cluster for the tests of programs that use one.

    import pytest
    from mpclient import testing

    @pytest.fixture(scope="session")
    def cluster():
        with testing.running_cluster() as cluster:
            yield cluster

Each call starts a real server, and if asked real workers, of its own; the address is in ``cluster.address``,
for programs that the test starts itself: ``testing.environment(cluster)`` is what to give them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from mpclient.default import offer_default
from mpclient.local import LocalCluster, start_local
from mpshared.errors import TimeoutExpired
from mpshared.ops import BY_NAME

if TYPE_CHECKING:
    from mpclient.cluster import Cluster
    from mpclient.objects.base import Proxy

__all__ = ["environment", "running_cluster", "wait_until", "waiters"]

_DESCRIBE: Final = BY_NAME["cluster.describe"]


@contextmanager
def running_cluster(
    processes: int = 0,
    *,
    queue: str | None = None,
    options: tuple[str, ...] = (),
    reconnect_timeout: float = 5.0,
) -> Iterator[Cluster]:
    """Start a cluster, give it to the body, stop it. It is the default one, unless there is one already.

    Args:
        processes: Worker processes; 0 for none: shared objects need none.
        queue: The recipe queue that the workers serve.
        options: More options of `mpserve start`, as on its command line.
        reconnect_timeout: Seconds; as for `connect`.
    """
    local = LocalCluster(processes=processes, queue=queue, options=options)
    cluster = start_local("test", local, reconnect_timeout_s=reconnect_timeout)
    try:
        offer_default(cluster)
        yield cluster
    finally:
        local.stop()


def environment(cluster: Cluster) -> dict[str, str]:
    """Return the variables with which another program finds the cluster."""
    return {"MPSERVE_ADDRESS": cluster.address, "MPSERVE_AUTHKEY": cluster.session.key.decode("ascii")}


def waiters(cluster: Cluster, proxy: Proxy) -> int:
    """Return how many calls wait for an object, of all kinds of waiting."""
    ident = proxy._handle.ident  # noqa: SLF001 - ours
    found: Mapping[str, Any] = cluster.session.call(_DESCRIBE, "", [ident]).result or {}
    names = ("waiters", "getters", "putters", "joiners")
    return sum(int(found.get(name, 0)) for name in names)


def wait_until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Ask `condition` again and again until it says yes.

    Raises:
        TimeoutExpired: It did not, for `timeout` seconds.
    """
    deadline_s = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutExpired(f"{condition!r} was not true within {timeout:g} s")
        time.sleep(0.005)
