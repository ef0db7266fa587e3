"""Processes: `multiprocessing.Process`."""

from __future__ import annotations

import signal

from tests.conformance import work
from tests.conformance.harness import NEWER, assigned, case

LIMIT_S = 30


def ran(process):
    """Start and join; return the exit code."""
    process.start()
    process.join(LIMIT_S)
    return process.exitcode


def got(side, target, *args, **more):
    """Return what a process puts on the queue that it is given first."""
    queue = side.mp.Queue()
    process = side.mp.Process(target=target, args=(queue, *args), **more)
    process.start()
    thing = queue.get(timeout=LIMIT_S)
    process.join(LIMIT_S)
    return thing


def running(side, target=work.wait_for, **more):
    """Return a process that runs until its event is set, and the event."""
    event = side.mp.Event()
    process = side.mp.Process(target=target, args=(event,), **more)
    process.start()
    return process, event


HERE = "one of ours runs elsewhere: it is an object to `wait` for, not a number"


@case(
    "multiprocessing.Process()",
    of="process.BaseProcess",
    differs={"sentinel": HERE, "interrupt()": NEWER},
    notes={
        "host": "ours alone: the name of the host that it runs on",
        "BaseProcess": "the standard library's own; ours is derived from it",
    },
)
def process(side):
    make = side.mp.Process
    yield from _before_the_start(make)
    yield from _life(side)
    yield from _ends(side)
    yield from _signals(side)


def _before_the_start(make):
    one = make(target=work.double, args=(1,), name="one", daemon=True)
    yield "name", lambda: one.name
    yield "name = 'two'", lambda: assigned(one, "name", "two")
    yield "name = 5", lambda: setattr(one, "name", 5)
    yield "daemon", lambda: one.daemon
    yield "daemon = False", lambda: assigned(one, "daemon", False)
    yield "pid of one that was not started", lambda: one.pid
    yield "ident of one that was not started", lambda: one.ident
    yield "exitcode of one that was not started", lambda: one.exitcode
    yield "is_alive() of one that was not started", one.is_alive
    yield "join() of one that was not started", one.join
    yield "terminate() of one that was not started", lambda: failing(one.terminate)
    yield "kill() of one that was not started", lambda: failing(one.kill)
    yield "sentinel of one that was not started", lambda: one.sentinel
    yield "authkey", lambda: type(one.authkey).__name__
    yield "authkey = b'key'", lambda: assigned(one, "authkey", b"key")
    yield "close() of one that was not started", one.close
    yield "Process(group=1)", lambda: make(group=1)
    yield "Process(5)", lambda: make(5)
    yield (
        "Process(target=f, kwargs={'b': 2}, name='x')",
        lambda: make(target=work.add, args=[1], kwargs={"b": 2}, name="x").name,
    )
    yield "Process(args=5)", lambda: make(target=work.double, args=5)
    yield "run()", lambda: make(target=work.add, args=(1,), kwargs={"b": 2}).run()
    yield (
        "Process(None, f, 'n', (1,), {}, daemon=None)",
        lambda: make(None, work.double, "n", (1,), {}, daemon=None).daemon,
    )


def failing(call):
    """Return the type of what is raised: neither side has a word for it."""
    try:
        return call()
    except Exception as err:
        return type(err).__name__


def _life(side):
    yield "start() runs the target", lambda: got(side, work.put, "thing")
    yield "start() passes kwargs", lambda: got(side, work.put, kwargs={"thing": 5})
    yield "name inside", lambda: got(side, work.about_self, None, name="me")[:3]
    yield "daemon inside", lambda: got(side, work.about_self, None, name="me", daemon=True)[:3]
    one, event = running(side)
    yield "is_alive()", one.is_alive
    yield "exitcode of one that runs", lambda: one.exitcode
    yield "pid", lambda: type(one.pid)
    yield "ident", lambda: one.ident == one.pid
    yield "sentinel", lambda: type(one.sentinel)
    yield "start() again", one.start
    yield "daemon = True when it runs", lambda: setattr(one, "daemon", True)
    yield "join(0.01)", lambda: one.join(0.01)
    yield "join(timeout=0)", lambda: one.join(timeout=0)
    yield "join(-1)", lambda: one.join(-1)
    yield "close() of one that runs", lambda: failing(one.close)
    yield "sentinel, waited for 0 s", lambda: side.modules["connection"].wait([one.sentinel], 0)
    event.set()
    yield "sentinel, waited for", lambda: len(side.modules["connection"].wait([one.sentinel], LIMIT_S))
    yield "join()", one.join
    yield "join() again", one.join
    yield "is_alive() of one that has ended", one.is_alive
    yield "exitcode", lambda: one.exitcode
    yield "pid of one that has ended", lambda: type(one.pid)
    yield "terminate() of one that has ended", one.terminate
    yield "start() of one that has ended", one.start
    yield "close()", one.close
    yield "close() again", one.close
    yield "is_alive() when it is closed", one.is_alive
    yield "exitcode when it is closed", lambda: one.exitcode
    yield "join() when it is closed", one.join

    def spoken():
        near, far = side.mp.Pipe()
        process = side.mp.Process(target=work.answer, args=(far,))
        process.start()
        far.close()
        near.send(21)
        answer = near.recv()
        process.join(LIMIT_S)
        try:
            near.recv()
        except EOFError:
            return answer

    yield "start() with an end of a pipe", spoken

    derived = type("Derived", (side.mp.Process,), {"run": lambda self: self.name})
    yield "run() of a class derived from it", lambda: derived(name="d").run()


def _ends(side):
    make = side.mp.Process
    for code in (None, 0, 3, True, -1):
        yield (
            f"exitcode of sys.exit({code})",
            lambda code=code: ran(make(target=work.exit_with, args=(code,))),
        )
    yield "exitcode of one that raised", lambda: ran(make(target=work.raise_quietly))
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
        yield (
            f"exitcode of one killed by {number.name}",
            lambda number=number: ran(make(target=work.kill_self, args=(number,))),
        )


def _signals(side):
    def ended_by(method, target=work.wait_for):
        process, event = running(side, target)
        if target is not work.wait_for:
            event.wait(LIMIT_S)
        getattr(process, method)()
        process.join(LIMIT_S)
        return process.exitcode

    yield "terminate()", lambda: ended_by("terminate")
    yield "kill()", lambda: ended_by("kill")
    yield "interrupt()", lambda: ended_by("interrupt", work.wait_for_sigint)
    yield "kill() of one that ignores SIGTERM", lambda: ended_by("kill", work.ignore_sigterm)


@case("multiprocessing.current_process(), parent_process(), active_children()")
def processes(side):
    mp = side.modules[""]
    me = mp.current_process()
    yield "name", lambda: me.name
    yield "daemon", lambda: me.daemon
    yield "authkey", lambda: type(me.authkey).__name__
    yield "parent_process()", mp.parent_process

    def among():
        process, event = running(side, name="child")
        names = [child.name for child in mp.active_children() if child is process]
        event.set()
        process.join(LIMIT_S)
        return names, process in mp.active_children()

    yield "active_children()", among
