"""Evidence for a want of memory, from folders as the kernel shows them."""

from __future__ import annotations

import os

import pytest

from mpclient.worker.host.memory import Memory

HOST_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def root(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def test_version_2(root, tmp_path):
    root("proc/self/cgroup", "0::/user/jobs\n")
    root("sys/fs/cgroup/user/jobs/memory.max", "max\n")
    root("sys/fs/cgroup/user/memory.max", "1000\n")
    root("sys/fs/cgroup/user/jobs/memory.events", "low 0\noom 3\noom_kill 2\n")
    memory = Memory(tmp_path)
    assert memory.evidence() == {"memory_limit_bytes": 1000, "oom_kills": 0}
    root("sys/fs/cgroup/user/jobs/memory.events", "low 0\noom 3\noom_kill 3\n")
    assert memory.evidence()["oom_kills"] == 1
    assert memory.evidence()["oom_kills"] == 0


def test_version_1_in_a_container_that_cannot_see_its_own_folder(root, tmp_path):
    root("proc/self/cgroup", "5:devices:/x\n4:memory:/far/away\n0::/\n")
    root("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000\n")
    root("sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    memory = Memory(tmp_path)
    root("sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n")
    assert memory.evidence() == {"memory_limit_bytes": 2000, "oom_kills": 4}


def test_nothing_is_said_of_what_cannot_be_read(tmp_path):
    assert Memory(tmp_path).evidence() == {"memory_limit_bytes": HOST_BYTES}
