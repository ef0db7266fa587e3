"""The storm: starts the workload, disturbs it, lets it end, and settles the account.

| what            | how                                                                   |
|-----------------|-----------------------------------------------------------------------|
| kill            | a program, a worker process or a supervisor, by SIGKILL; a new one takes its place |
| stop            | a program by SIGSTOP, for up to twice the session timeout             |
| cut             | all connections at once, half of them in the middle of a message      |
| restart         | the server by SIGKILL, and again at its address                       |

Everything is drawn from one seed; what the machine makes of it in time is not.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil
from tests import prepared
from tests.chaos.account import Account, settle
from tests.chaos.actors import BARRIER_PARTIES
from tests.integration.conftest import Server
from tests.integration.relay import Relay

import mpclient

__all__ = ["Storm"]

CAST: Final = {"producer": 2, "locker": 3, "counter": 2, "meeter": BARRIER_PARTIES, "waiter": 2}
SESSION_TIMEOUT_S: Final = 2
_END_S: Final = 90.0
_LIMIT: Final = 3000
"""Jobs that wait: producers are faster than workers."""


class Storm:
    """See the file's beginning.

    Args:
        folder: For everything that is written.
        seed: Of what happens.
        say: Is told what happens.
    """

    def __init__(self, folder: Path, seed: int, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._say = say
        self._notes = folder / "notes"
        self._notes.mkdir()
        options = ("--data", str(folder / "data"), "--session-timeout", f"{SESSION_TIMEOUT_S}s")
        self.server = Server(folder / "server", (*options, "--max-attempts", "1000000"))
        self.actors: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.worker: subprocess.Popen[bytes] | None = None
        self.disturbed: set[int] = set()
        self.happened: Counter[str] = Counter()
        self.results: list[str] = []

    # -- the whole -------------------------------------------------------------------------------

    def run(self, seconds: float) -> Account:
        """Do all of it; the storm itself lasts `seconds`."""
        self.server.start()
        host, port = self.server.address.split(":")
        self.relay = Relay((host, int(port)))
        try:
            return self._run(seconds)
        finally:
            self._end_everything()

    def _run(self, seconds: float) -> Account:
        with self._connect() as cluster:
            cluster.JoinableQueue(_LIMIT, name="tasks")
            self._start_worker()
            for role, n in CAST.items():
                for _ in range(n):
                    self._start_actor(role)
            until_s = time.monotonic() + seconds
            while time.monotonic() < until_s:
                self._collect(cluster)
                self._disturb()
                time.sleep(self._random.uniform(0.05, 0.5))
            return self._settle(cluster)

    def _connect(self) -> mpclient.Cluster:
        return mpclient.connect(self.server.address, self.server.key, reconnect_timeout=60.0)

    def _collect(self, cluster: mpclient.Cluster) -> None:
        results = cluster.Queue(name="results")
        with suppress(mpclient.Empty):
            while True:
                self.results += results.get_many(1000, block=False)

    # -- the cast --------------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        root = str(Path(__file__).parents[2])
        return {**self.server.environment, "MPSERVE_ADDRESS": self.relay.address, "PYTHONPATH": root}

    def _start_actor(self, role: str) -> None:
        command = [sys.executable, "-m", "tests.chaos.actors", role, str(self._notes)]
        with (self._folder / "actors.log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=self._environment()
            )
        self.actors.append((role, process))

    def _start_worker(self) -> None:
        words = ("mpworker", "--processes", "2", "--log-format", "json")
        with (self._folder / "worker.log").open("ab") as log:
            self.worker = prepared.start(
                *words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment()
            )

    # -- what happens ----------------------------------------------------------------------------

    def _disturb(self) -> None:
        happens = self._random.choices(
            (
                self._kill_actor,
                self._stop_actor,
                self._cut,
                self._kill_worker,
                self._kill_host,
                self._restart,
            ),
            (6, 4, 6, 5, 1, 2),
        )[0]
        self.happened[happens.__name__.strip("_")] += 1
        happens()

    def _draw(self) -> tuple[str, subprocess.Popen[bytes]]:
        return self._random.choice(self.actors)

    def _kill_actor(self) -> None:
        role, process = self._draw()
        self.actors.remove((role, process))
        self.disturbed.add(process.pid)
        _kill(process)
        self._start_actor(role)

    def _stop_actor(self) -> None:
        _, process = self._draw()
        self.disturbed.add(process.pid)
        process.send_signal(signal.SIGSTOP)
        time.sleep(self._random.uniform(0.1, 2.0 * SESSION_TIMEOUT_S) if self._random.random() < 0.3 else 0.1)
        process.send_signal(signal.SIGCONT)

    def _cut(self) -> None:
        if self._random.random() < 0.5:
            self.relay.cut()
        else:
            self.relay.arm(self._random.choice(("up", "down")), self._random.randrange(1, 5000))

    def _kill_worker(self) -> None:
        if self.worker is not None:
            with suppress(psutil.NoSuchProcess):
                children = psutil.Process(self.worker.pid).children()
                if children:
                    os.kill(self._random.choice(children).pid, signal.SIGKILL)

    def _kill_host(self) -> None:
        if self.worker is not None:
            _kill(self.worker)
        self._start_worker()

    def _restart(self) -> None:
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()
        time.sleep(self._random.uniform(0.0, 1.0))
        self.server.start(port=int(self.server.address.rpartition(":")[2]))

    # -- the end ---------------------------------------------------------------------------------

    def _settle(self, cluster: mpclient.Cluster) -> Account:
        self.relay.disarm()
        self._say("the storm is over; everybody finishes")
        for _, process in self.actors:
            assert process.stdin is not None
            process.stdin.close()
        late = [role for role, process in self.actors if not self._has_ended(cluster, process)]
        tasks = cluster.JoinableQueue(name="tasks")
        finished = self._await_jobs(cluster, tasks)
        self._collect(cluster)
        account = settle(self._notes, self.results, cluster.dict(name="counts").get("n", 0), self.disturbed)
        account.check(not late, f"programs that did not end, or badly: {late}")
        account.check(finished, f"jobs are unfinished: {tasks.qsize()} wait")
        return account

    def _has_ended(self, cluster: mpclient.Cluster, process: subprocess.Popen[bytes]) -> bool:
        """Wait for a program's end; producers need room, so results are collected meanwhile."""
        until_s = time.monotonic() + _END_S
        while process.poll() is None and time.monotonic() < until_s:
            self._collect(cluster)
            time.sleep(0.05)
        return process.poll() == 0

    def _await_jobs(self, cluster: mpclient.Cluster, tasks: mpclient.objects.t_queue.JoinableQueue) -> bool:
        until_s = time.monotonic() + _END_S
        while not tasks.join(0.2) and time.monotonic() < until_s:
            self._collect(cluster)
        return bool(tasks.join(0))

    def _end_everything(self) -> None:
        for _, process in self.actors:
            process.send_signal(signal.SIGCONT)
            _kill(process)
        if self.worker is not None:
            _kill(self.worker)
        self.relay.close()
        self.server.stop()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait(10)
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
