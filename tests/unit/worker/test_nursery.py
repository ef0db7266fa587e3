"""The nursery where few files may be open: who cannot be born there is told so, and it lives on. And what it
has in stock, where that is of no use.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from mpclient.worker.channel import Channel, packed
from mpclient.worker.descriptors import Pipes
from mpclient.worker.mark import new_mark

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
resource = pytest.importorskip("resource")

LIMIT_S = 20.0


class Nursery:
    """A nursery, and this process as its supervisor."""

    def __init__(self, process: subprocess.Popen[bytes], channel: Channel) -> None:
        self.process = process
        self.channel = channel
        self.before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)

    def leave_room(self, files: int) -> None:
        """Let it open so many more files."""
        _, hard = self.before
        taken = {int(link.name) for link in Path(f"/proc/{self.process.pid}/fd").iterdir()}
        free = [number for number in range(1000) if number not in taken]
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (free[files], hard))

    def restore_room(self) -> None:
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, self.before)

    def news(self) -> dict[str, Any]:
        message = self.channel.receive_first()
        assert message is not None
        assert not self.channel.early
        return message

    def start(self, name: str, *, more: bool) -> None:
        self.channel.send("start", process=name, name=name, supervisor="s", more=more)

    def heard_until(self, kind: str, times: int = 1) -> list[dict[str, Any]]:
        """Return the news up to the one of this kind that makes it so many."""
        heard: list[dict[str, Any]] = []
        while [message["kind"] for message in heard].count(kind) < times:
            message = self.channel.receive_first()
            assert message is not None
            heard.append(message)
        return heard

    def order_worker(self) -> dict[str, Any] | None:
        """Have a worker process made; return what is heard of it. It ends at once: nobody tells it more."""
        ours, theirs = socket.socketpair()
        pipes, mark = Pipes(), new_mark()
        given = [theirs.fileno(), mark, *pipes.ends, 1, 2]
        assert self.channel.send_part(packed("worker", {}), given) == b""
        theirs.close()
        os.close(mark)
        pipes.begun()
        pipes.close()
        channel = Channel(ours)
        try:
            return channel.receive_first()
        finally:
            channel.close()


@contextmanager
def running(*module: str):
    ours, theirs = socket.socketpair()
    ours.settimeout(LIMIT_S)
    command = [sys.executable, "-P", *(module or ("-m", "mpclient.worker.nursery")), str(theirs.fileno())]
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, pass_fds=[theirs.fileno()]))
        theirs.close()
        channel = Channel(ours)
        stack.callback(channel.close)  # that ends it
        channel.send("begin", given={}, fork=True)
        nursery = Nursery(process, channel)
        assert nursery.news() == {"kind": "ready"}
        yield nursery


@pytest.fixture
def nursery():
    with running() as nursery:
        yield nursery
    assert nursery.process.returncode == 0


@pytest.mark.parametrize("files", [0, 1, 7, 8, 9])
def test_no_room_for_a_worker_process(nursery, files):
    nursery.leave_room(files)
    for _ in range(3):  # nothing is left open
        assert nursery.order_worker() is None
    nursery.restore_room()
    told = nursery.order_worker()
    assert told is not None
    assert told["kind"] == "born"


def test_just_enough_room_for_a_worker_process(nursery):
    nursery.leave_room(10)
    for _ in range(3):
        told = nursery.order_worker()
        assert told is not None
        assert told["kind"] == "born"


@pytest.mark.parametrize("files", [0, 1, 2, 3, 4, 5, 6, 7])
def test_no_room_for_a_process(nursery, files):
    nursery.leave_room(files)
    for _ in range(3):
        nursery.channel.send("start", process="p", name="p", supervisor="s", more=False)
        told = nursery.news()
        assert (told["kind"], told["process"]) == ("refused", "p")
        assert "Too many open files" in told["why"]


# -- what is in stock -----------------------------------------------------------------------------

REFUSING = """
import os
from pathlib import Path
from mpclient.worker import newborn, nursery

MARK = Path(MARK)

def live(channel, given):
    start = channel.receive_first()
    if start is None:
        os._exit(0)
    channel.send("session", session=str(os.getpid()))
    if start["name"] == "refused" or (start["name"] == "refused once" and not MARK.exists()):
        MARK.touch()
        channel.send("refused", why="its session is over")
        os._exit(1)
    channel.receive_first()
    os._exit(0)

newborn.live = live
nursery.main()
"""


@pytest.fixture
def refusing(tmp_path):
    """A nursery with one in stock: the Process named "refused" is refused, "refused once" by the first."""
    with running("-c", f"MARK = {str(tmp_path / 'mark')!r}\n{REFUSING}") as nursery:
        nursery.start("first", more=True)
        nursery.heard_until("session")
        yield nursery


def test_what_is_in_stock_and_of_no_use_has_a_successor(refusing):
    refusing.start("refused once", more=False)
    heard = refusing.heard_until("session", times=2)
    assert [message["kind"] for message in heard] == ["born", "session"] * 2
    in_stock, successor = [message["pid"] for message in heard if message["kind"] == "born"]
    assert in_stock != successor
    assert heard[-1]["session"] == str(successor)


def test_it_has_one_successor_only(refusing):
    refusing.start("refused", more=True)
    heard = refusing.heard_until("refused")
    assert [message["kind"] for message in heard] == ["born", "session"] * 2 + ["refused"]
    assert heard[-1]["why"] == "its session is over"


# -- those that may not be ended ------------------------------------------------------------------

FORBIDDEN = """
import os
from mpclient.worker import nursery

def refuse(pid, number):
    raise PermissionError

os.kill = os.killpg = refuse
nursery.main()
"""


def test_a_process_that_has_become_another_users_ends_no_nursery():
    with running("-c", FORBIDDEN) as nursery:
        nursery.start("sudo", more=False)
        nursery.heard_until("born")
        nursery.channel.send("signal", process="sudo", number=15)
        nursery.channel.send("dismiss", process="sudo", kill_s=0.0)
        nursery.heard_until("ended")
        nursery.channel.send("answer")
        nursery.heard_until("ready")
