"""`mpserve status --watch`, at a terminal: drawn anew within its edges, whatever becomes of the server."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator

import pytest
from tests.integration import commands

import mpclient

home, start = commands.home, commands.start
pytestmark = pytest.mark.hosts
OTHER_SCREEN, USUAL_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
Watch = Callable[..., "Terminal"]


class Terminal:
    """A command at a terminal of its own, and all that it has written there."""

    def __init__(self, words: list[str], environment: dict[str, str], columns: int, lines: int) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        streams = {"stdin": slave, "stdout": slave, "stderr": slave}
        self.process = subprocess.Popen(words, env=environment, start_new_session=True, **streams)  # type: ignore[call-overload]
        os.close(slave)
        self.written = ""

    def wait_for(self, text: str) -> str:
        """Read on until it has written this; return what it wrote until then, and forget it."""
        until_s = time.monotonic() + commands.LIMIT_S
        while text not in self.written:
            ready, _, _ = select.select([self.master], [], [], until_s - time.monotonic())
            assert ready, self.written
            self.written += os.read(self.master, 1 << 16).decode()
        before, self.written = self.written.split(text, 1)
        return before + text


@pytest.fixture
def watch(home: commands.Home) -> Iterator[Watch]:
    opened = []

    def open_one(address: str, columns: int = 100, lines: int = 40, **more: str) -> Terminal:
        kept = {key: value for key, value in home.environment.items() if key not in {"COLUMNS", "LINES"}}
        environment = kept | {"TERM": "xterm-256color", "MPSERVE_ADDRESS": address} | more
        words = [str(commands.COMMAND), "status", "--watch"]
        opened.append(Terminal(words, environment, columns, lines))
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.master)


def plain(written: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_is_drawn_anew_until_it_is_ended_and_leaves_the_terminal_as_it_was(start, home, watch, number):
    address = start("--port", "0").address
    terminal = watch(address)
    terminal.wait_for(OTHER_SCREEN)
    with mpclient.connect(address, home.key_file.read_text().strip()) as cluster:
        jobs = cluster.Queue(name="the jobs")
        terminal.wait_for("the jobs")
        jobs.put(1)
        terminal.wait_for("█")
    terminal.process.send_signal(number)
    terminal.wait_for(USUAL_SCREEN)
    assert terminal.process.wait(commands.LIMIT_S) == 0
    assert "Traceback" not in terminal.written


def test_lines_end_at_the_edge_of_the_terminal(start, home, watch):
    address = start("--port", "0").address
    with mpclient.connect(address, home.key_file.read_text().strip()) as cluster:
        kept = [cluster.Queue(name=f"queue {n} {'long ' * 20}") for n in range(12)]
        terminal = watch(address, columns=50, lines=12)
        terminal.wait_for("more lines")
        picture = plain(terminal.wait_for("more lines").rpartition("\x1b[H")[2])
        assert max(map(len, picture.splitlines())) <= 50
        assert picture.count("queue ") < len(kept)


def test_without_colours(start, watch):
    terminal = watch(start("--port", "0").address, NO_COLOR="1")
    terminal.wait_for(OTHER_SCREEN)
    assert re.search(r"\x1b\[[0-9;]*3[0-7]m", terminal.wait_for("no worker hosts")) is None


def test_a_server_that_is_started_again_is_watched_again(start, watch):
    running = start("--port", "0")
    terminal = watch(running.address)
    terminal.wait_for("no worker hosts")
    assert running.end(signal.SIGTERM) == 0
    terminal.wait_for("this is old, and tried again: no server answers")
    start("--port", running.address.rpartition(":")[2])
    terminal.wait_for("1 connection of")
    while "this is old" in terminal.wait_for("no worker hosts"):
        pass
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(commands.LIMIT_S) == 0


def test_with_no_server_the_screen_is_left_alone(home, watch):
    home.key_file.parent.mkdir(parents=True)
    home.key_file.write_text("0123456789abcdef")
    home.key_file.chmod(0o600)
    terminal = watch("127.0.0.1:1")
    said = terminal.wait_for("say where with --connect")
    assert said.startswith("mpserve status: no server answers at 127.0.0.1:1")
    assert terminal.process.wait(commands.LIMIT_S) == 5
