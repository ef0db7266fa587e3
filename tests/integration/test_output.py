"""What processes print for programs comes home: in order, whole, once, and never after what depends on it."""

from __future__ import annotations

import pytest

# A process that prints for `program`, as workers do: `out` leads there.
WORKER = """
from mpclient.worker import streams
program, go, done = hear(), cluster.Queue(name=hear()), cluster.Queue(name=hear())
streams.install(cluster.session).route(program)
"""


@pytest.fixture
def worker(program, cluster, unique):
    """Start a process that prints for `cluster`'s program what the given source says."""

    def start(source):
        process = program(WORKER + source)
        for line in (cluster.session.id, unique + " go", unique + " done"):
            process.say(line)
        return process

    return start


@pytest.fixture
def done(cluster, unique):
    return cluster.Queue(name=unique + " done")


def test_no_answer_overtakes_a_print(worker, done, capsys):
    worker('for n in range(200):\n    print("line", n)\n    done.put(n)\n')
    printed = ""
    for n in range(200):
        assert done.get(timeout=10) == n
        printed += capsys.readouterr().out
        assert f"line {n}\n" in printed
    assert printed == "".join(f"line {n}\n" for n in range(200))
