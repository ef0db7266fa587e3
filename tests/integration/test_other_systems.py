"""Clients where Python has only what Windows has of sockets, signals and processes, and says so.

No Windows is at hand: names that Python has only elsewhere are taken away from a program instead, once the
standard library has decided what it goes by.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.integration import workers

import mpclient
from mpclient.local import LocalCluster

mpworker = workers.mpworker

BARE = """\
import asyncio.selector_events, multiprocessing.managers
import os, resource, select, selectors, signal, socket, subprocess, sys
pair, unix = socket.socketpair, socket.AF_UNIX
socket.socketpair = lambda: pair(unix)  # Windows has one of its own, over TCP
GONE = {
    os: "eventfd fchmod fchown fork getegid geteuid getgid getpgid getuid killpg memfd_create mkfifo nice "
    "pidfd_open posix_fallocate pread preadv pwrite register_at_fork sched_getaffinity sched_setaffinity "
    "sched_yield set_blocking setsid statvfs sysconf uname waitid",
    select: "poll epoll",
    selectors: "PollSelector EpollSelector",
    signal: "SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 alarm pthread_kill "
    "pthread_sigmask setitimer sigwait",
    socket: "AF_UNIX MSG_DONTWAIT MSG_NOSIGNAL SCM_RIGHTS SO_PEERCRED SO_REUSEPORT TCP_USER_TIMEOUT "
    "recv_fds send_fds",
}
for module, names in GONE.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
def missing(sock):
    raise AttributeError("not on Windows")
for name in ("recvmsg", "recvmsg_into", "sendmsg"):
    setattr(socket.socket, name, property(missing))
asyncio.selector_events._HAS_SENDMSG = False  # from Python 3.12 on it goes by that
for name in ("fcntl", "grp", "pty", "pwd", "termios"):
    sys.modules[name] = None
sys.platform = "win32"
import mpclient as multiprocessing
import mpclient.aio

def square(x):
    return x * x
def fill(queue):
    print("in a process", flush=True)
    queue.put(bytes(3_000_000))
async def in_tasks():
    async with mpclient.aio.connect() as cluster:
        queue = await cluster.Queue()
        await queue.put(bytes(2_000_000))
        return len(await queue.get())
"""

STEPS = """\
if __name__ == "__main__":
    shared = multiprocessing.Manager().dict()
    shared["x"] = bytes(5_000_000)
    print(len(shared["x"]))
    with multiprocessing.Lock(), multiprocessing.Condition() as condition:
        print(multiprocessing.Event().wait(0.01))
    with multiprocessing.Pool(2) as pool:
        print(sum(pool.map(square, range(1000))), sum(pool.imap_unordered(square, range(1000))))
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=fill, args=(queue,))
    process.start()
    print(len(queue.get()))
    process.join()
    print(process.exitcode)
    here, there = multiprocessing.Pipe()
    here.send("sent")
    print(multiprocessing.connection.wait([there], 10) == [there], there.recv())
    with multiprocessing.connect().executor() as executor:
        print(executor.submit(square, 7).result())
    print(asyncio.run(in_tasks()))
"""

SAID = """\
5000000
False
332833500 332833500
in a process
3000000
0
True sent
49
2000000
"""


def test_a_client_needs_nothing_that_windows_has_not(program, fresh_server, mpworker):
    server = fresh_server()
    mpworker(server, processes=2).ready()
    done = program(BARE + STEPS, connected=False, environment=server.environment, typed=True)
    out, err = done.process.communicate(timeout=100)
    assert (out, err, done.process.returncode) == (SAID, "", 0)


@pytest.mark.parametrize(
    ("command", "where", "said"),
    [
        (["mpserve", "start"], "mpserve.cli", "servers run on Linux and macOS"),
        (["mpworker"], "mpclient.worker.cli", "worker hosts run on Linux and macOS"),
    ],
)
def test_what_does_not_run_on_windows_says_so(command, where, said):
    source = f"import sys; sys.platform, sys.argv = 'win32', {command!r}; from {where} import main; main()"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr


def test_a_program_on_windows_cannot_start_a_server_of_its_own(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(mpclient.ServerGone, match="set MPSERVE_ADDRESS=host:port here"):
        LocalCluster().start()
