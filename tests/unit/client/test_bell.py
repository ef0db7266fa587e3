"""Descriptors that ring: who comes in between, and what a fork has of them."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from mpclient.objects.bell import Bell
from mpclient.transport.references import Handle, References
from mpshared.errors import ServerGone
from mpshared.wire.own.frames import Reply


class Session:
    """As much of one as bells need; nothing is ready until it is over."""

    def __init__(self) -> None:
        self.references = References(self)  # type: ignore[arg-type]
        self.over = threading.Event()
        self.trouble: list[Exception] = []
        self.looks: SimpleQueue[None] = SimpleQueue()

    def call(self, *_: Any) -> Reply:
        self.looks.put(None)
        if self.trouble:
            raise self.trouble.pop()
        self.over.wait(10)
        return Reply(0, 1, 0, None, ())

    def wake(self) -> None:
        """Do nothing."""


@pytest.fixture
def handle() -> Iterator[Handle]:
    session = Session()
    handle = session.references.claim("an object")
    yield handle
    assert handle.bell is not None
    handle.bell.close()
    session.over.set()


@pytest.fixture
def bell(handle: Handle) -> Bell:
    return handle.session.references.hang(handle, Bell)


def ends(function: Callable[[], object]) -> bool:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(10)
    return not thread.is_alive()


def test_a_signal_handler_may_ask_the_object_wherever_it_comes(bell):
    def handler(*_: object) -> Any:
        bell.quiet()
        return handler

    def interrupted() -> None:
        sys.settrace(handler)  # at each line, also of what is called
        bell.quiet()
        sys.settrace(None)

    assert ends(interrupted)


def test_a_fork_closes_its_copy_although_the_lock_is_not_let_go_there(bell, monkeypatch):
    with bell._lock:
        monkeypatch.setattr(os, "getpid", lambda: bell.pid + 1)
        assert ends(bell.close)
        assert bell.fileno() == -1
        monkeypatch.undo()


def test_an_object_has_one_and_in_a_fork_another(handle, bell, monkeypatch):
    hang = handle.session.references.hang
    assert hang(handle, Bell) is bell
    monkeypatch.setattr(os, "getpid", lambda: bell.pid + 1)
    other = hang(handle, Bell)
    assert other is not bell
    assert hang(handle, Bell) is other
    other.close()
    monkeypatch.undo()
    bell.close()


def test_what_the_server_refused_once_is_looked_at_again_when_the_program_has_asked(handle):
    session: Any = handle.session
    session.trouble.append(ServerGone("for now"))
    bell = handle.session.references.hang(handle, Bell)
    assert select.select([bell], [], [], 10)[0] == [bell]
    session.looks.get(timeout=10)
    bell.quiet()
    session.looks.get(timeout=10)
    assert select.select([bell], [], [], 0)[0] == []
