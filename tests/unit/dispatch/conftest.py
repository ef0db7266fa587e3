"""A server behind our protocol, in memory; a program of it, and one of its threads."""

from __future__ import annotations

import pytest
from tests.contract.wired_rig import WiredRig


@pytest.fixture
def rig():
    rig = WiredRig("memory", 1)
    yield rig
    rig.finish()


@pytest.fixture
def program(rig):
    return rig.program()


@pytest.fixture
def thread(program):
    return program.thread()
