"""What tests of Processes on worker hosts share.

TARGETS    the beginning of their programs: what Processes run
gone       waits until processes have ended
"""

from __future__ import annotations

from tests.integration import workers

from mpclient import testing

__all__ = ["TARGETS", "gone"]

TARGETS = """\
from mpclient.process import Process, active_children
import signal
def wait(*words):
    print(*words, os.getpid(), flush=True)
    time.sleep(600)
def stubborn():
    signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
    wait()
"""


def gone(*pids: int) -> None:
    testing.wait_until(lambda: not any(map(workers.is_alive, pids)), 20)
