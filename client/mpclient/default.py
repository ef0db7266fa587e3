"""The default cluster: what the names of the module `mpclient` are bound to.

RULES
* It is chosen at first use, and anew when it was closed:

  | where                                     | which cluster                                                |
  |-------------------------------------------|--------------------------------------------------------------|
  | after an explicit `connect()`             | that one; of several the first one that is not closed        |
  | in a worker, or a Process                 | the one it belongs to                                        |
  | in a child that `multiprocessing` started | the one that the child was given objects of                  |
  | else                                      | that at `MPSERVE_ADDRESS`; without it the embedded one       |

* `connect()` without arguments makes explicit what was or would be chosen so, and starts nothing twice.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Final

from mpclient.session import living_sessions

if TYPE_CHECKING:
    from mpclient.cluster import Cluster
    from mpclient.session import Session

__all__ = ["default_cluster", "find_chosen", "find_existing", "offer_default"]


class _Default:
    """What was chosen in this process."""

    def __init__(self) -> None:
        self.explicit: list[Cluster] = []
        """Those the program connected to, in order."""
        self.implicit: Cluster | None = None
        self.choosing = threading.RLock()

    def find_explicit(self) -> Cluster | None:
        """Return the first cluster that the program has connected to and not closed."""
        self.explicit = [cluster for cluster in self.explicit if not cluster.session.closed]
        return self.explicit[0] if self.explicit else None

    def find_implicit(self) -> Cluster | None:
        """Return the cluster chosen without being asked for, if it is not closed."""
        chosen = self.implicit
        return None if chosen is None or chosen.session.closed else chosen

    def forked(self) -> None:
        """Make the lock anew: a thread of the parent's may have held it."""
        self.choosing = threading.RLock()


_default: Final = _Default()


def default_cluster() -> Cluster:
    """Return the default cluster; connects, or starts the embedded one, if there is none.

    Raises:
        ServerGone, NotAllowed, ProtocolViolation: As `connect`.
    """
    with _default.choosing:
        found = find_existing()
        if found is None:
            from mpclient.cluster import make_cluster  # noqa: PLC0415 - the import would be circular

            found = _default.implicit = make_cluster()
        return found


def find_existing() -> Cluster | None:
    """Return the default cluster if there is one."""
    with _default.choosing:
        return _default.find_explicit() or find_chosen()


def find_chosen() -> Cluster | None:
    """Return the cluster that this process belongs to, or that was chosen before; None: it has to be made."""
    with _default.choosing:
        found = _default.find_implicit()
        if found is None and (session := _find_own_session()) is not None:
            from mpclient.cluster import Cluster  # noqa: PLC0415 - the import would be circular

            found = _default.implicit = Cluster(session, borrowed=True)
        return found


def offer_default(cluster: Cluster) -> None:
    """Note a cluster that the program has connected to."""
    with _default.choosing:
        _default.find_explicit()  # those that are closed are forgotten
        _default.explicit.append(cluster)


def _find_own_session() -> Session | None:
    """Return the session that this process has without having asked for one."""
    living = living_sessions()
    for session in living:
        if session.describes.role != "program":
            return session
    process = sys.modules.get("multiprocessing.process")
    is_child = process is not None and process.parent_process() is not None
    return living[0] if is_child and len(living) == 1 else None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_default.forked)
