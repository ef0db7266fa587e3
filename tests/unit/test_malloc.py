"""What malloc keeps of large values' memory; each in a process of its own, as it is changed for good."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mpshared.memory import KEPT_BYTES

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")

VALUES = """
import json, resource, sys
from mpshared.memory import give_back, keep_freed
kept = keep_freed()
def faults(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    values = [b"x" * (1 << 20) for _ in range(count)]
    del values
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])
first, again, held = faults(48), faults(48), resident()
give_back()
free = resident()
faults(int(sys.argv[1]))
print(json.dumps([kept, first, again, held, free, resident()]))
"""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PAGES = (48 << 20) // PAGE_BYTES
LARGE_PAGES = """
import json, resource, sys
from mpshared.memory import keep_freed
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
keep_freed()
heap, asked = False, False
with open("/proc/self/smaps") as file:  # of the heap alone: Python 3.15 asks for large pages, too, elsewhere
    for line in file:
        heap = "[heap]" in line if "-" in line.split()[0] else heap
        asked |= heap and line.startswith("VmFlags") and " hg" in line
print(json.dumps(asked))
"""
THP = Path("/sys/kernel/mm/transparent_hugepage")


def run(megabytes: str, **environment: str) -> list[Any]:
    """Return whether it was set, faults of the first values and of the next, pages then, later, and last."""
    command = [sys.executable, "-c", VALUES, megabytes]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, check=True)
    return list(json.loads(done.stdout))


def test_values_take_the_memory_that_earlier_ones_left():
    kept, first, again, held, free, _ = run("1")
    assert kept
    assert again < first / 4
    assert held - free > PAGES / 2  # and all of it can be given back


def test_much_is_given_back_at_once():
    *_, free, last = run(str(3 * KEPT_BYTES >> 20))
    assert last < free + (KEPT_BYTES + (16 << 20)) // PAGE_BYTES


@pytest.mark.parametrize(
    "setting",
    [
        {"MALLOC_TRIM_THRESHOLD_": "131072"},
        {"MALLOC_MMAP_THRESHOLD_": "131072"},
        {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"},
    ],
)
def test_who_has_set_malloc_keeps_the_settings(setting):
    kept, first, again, *_ = run("1", **setting)
    assert not kept
    assert again > first / 2


@pytest.mark.skipif(not THP.exists(), reason="the system has no large pages")
@pytest.mark.parametrize(("limit_bytes", "asked"), [(resource.RLIM_INFINITY, True), (4 << 30, False)])
def test_large_pages_are_asked_for_unless_memory_may_not_be_promised(limit_bytes, asked):
    command = [sys.executable, "-c", LARGE_PAGES, str(limit_bytes)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert json.loads(done.stdout) == asked
