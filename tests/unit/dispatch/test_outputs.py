"""OUTPUT frames through the dispatcher: numbers, acknowledgements, the way home, answers that name them."""

from __future__ import annotations

import pytest
from tests.contract.wired_rig import Wire

from mpserve.core.output import KEPT_MAX_BYTES
from mpshared.wire.own.frames import Type

LINE = b"x" * 999 + b"\n"


@pytest.fixture
def worker(rig):
    return rig.program(role="worker")


def prints(wire, number, program, *entries):
    wire.control(Type.OUTPUT, number=number, body=[program.id, [[1, entry] for entry in entries]])
    wire.carry()


def printed(program, number):
    program.control.control(Type.OUTPUT, body=[number, []])


def home(program):
    """Return [last, entries] of every OUTPUT frame that has come to the program."""
    program.control.carry()
    return [event.body for event in program.control.controls if event.type is Type.OUTPUT]


def acks(wire):
    wire.carry()
    return [event.ack for event in wire.controls if event.type is Type.ACK]


def test_it_comes_home_on_the_control_connection(program, worker):
    prints(worker.thread().wire, 1, program, b"one\n", b"two\n")
    assert home(program) == [[2, [[1, b"one\n"], [1, b"two\n"]]]]


def test_answers_name_what_came_before_them(program, worker):
    thread = program.thread()
    thread.ask("cluster.count", "")
    prints(worker.control, 1, program, b"one\n", b"two\n")
    thread.ask("cluster.count", "")
    thread.fails("queue.qsize", "nonesuch")
    assert [answer.ack for answer in thread.wire.answers] == [0, 2, 2]
    other = worker.thread()
    other.ask("cluster.count", "")
    assert [answer.ack for answer in other.wire.answers] == [0]


def test_a_frame_that_comes_by_two_connections_counts_once(program, worker):
    one, two = worker.thread().wire, worker.thread().wire
    prints(one, 1, program, b"one\n")
    prints(two, 1, program, b"one\n")
    prints(two, 2, program, b"two\n")
    prints(one, 2, program, b"two\n")
    assert home(program) == [[1, [[1, b"one\n"]]], [2, [[1, b"two\n"]]]]
    assert acks(one) == [1, 2]
    assert acks(two) == [1, 2]


def test_a_program_that_reconnects_gets_what_it_has_not_printed(rig, program, worker):
    program.control.cut()
    prints(worker.control, 1, program, b"one\n", b"two\n", b"three\n")
    assert acks(worker.control) == [1]
    wire = Wire(rig)
    wire.attach({"session": program.id, "secret": program.secret, "lane": 0})
    wire.control(Type.OUTPUT, body=[1, []])
    wire.cut()
    wire = Wire(rig)
    wire.attach({"session": program.id, "secret": program.secret, "lane": 0})
    [event] = [event for event in wire.controls if event.type is Type.OUTPUT]
    assert event.body == [3, [[1, b"two\n"], [1, b"three\n"]]]


def test_a_program_that_prints_nothing_slows_its_workers_down_and_nobody_else(rig, program, worker):
    number = 0
    while acks(worker.control) == list(range(1, number + 1)):
        number += 1
        prints(worker.control, number, program, *[LINE] * 40)
        assert number < 1000
    other = rig.program()
    neighbour = rig.program(role="worker")
    prints(neighbour.control, 1, other, b"one\n")
    assert acks(neighbour.control) == [1]
    on_its_way = home(program)
    assert sum(len(data) for _, entries in on_its_way for _, data in entries) < 400_000
    printed(program, on_its_way[-1][0])
    for _ in range(100):
        printed(program, home(program)[-1][0])
    assert acks(worker.control)[-1] == number
    assert home(program)[-1][0] == number * 40


def test_the_end_of_a_program_lets_its_workers_go_on(program, worker):
    for number in range(1, 50):
        prints(worker.control, number, program, *[LINE] * 40)
    assert acks(worker.control)[-1] < 49
    program.goodbye()
    assert acks(worker.control)[-1] == 49
    prints(worker.control, 50, program, b"to nobody\n")
    assert acks(worker.control)[-1] == 50


def test_what_is_too_much_is_lost_and_told(rig, program, worker):
    frames = KEPT_MAX_BYTES // 40_000 + 20
    for number in range(1, frames + 1):
        prints(worker.control, number, program, *[LINE] * 40)
    count = 0
    for _ in range(1000):
        pages = home(program)
        if len(pages) == count:
            break
        count = len(pages)
        printed(program, pages[-1][0])
    entries = [tuple(entry) for _, page in home(program) for entry in page]
    [(at, told)] = [(at, data) for at, (stream, data) in enumerate(entries) if stream == 2]
    lost = int(told.split()[1])
    assert at == len(entries) - 1
    assert len(entries) - 1 + lost == frames * 40
    assert lost > 0


@pytest.mark.parametrize("to", ["nonesuch", ""])
def test_nobody_there_to_print_it(worker, to):
    worker.control.control(Type.OUTPUT, number=1, body=[to, [[1, b"one\n"]]])
    assert acks(worker.control) == [1]


def test_a_progress_line_is_not_torn(program, rig):
    one, two = rig.program(role="worker"), rig.program(role="worker")
    prints(one.control, 1, program, b".")
    prints(two.control, 1, program, b".")
    prints(one.control, 2, program, b"line\n")
    prints(two.control, 2, program, b"line\n")
    assert [data for _, entries in home(program) for _, data in entries] == [
        *(b".", b"."),
        b"",  # a break
        *(b"line\n", b"line\n"),
    ]


def test_what_begins_with_a_line_end_needs_no_break(rig, program, worker):
    other = rig.program(role="worker")
    prints(worker.control, 1, program, b"piece")
    prints(other.control, 1, program, b"\nline\n")
    assert [data for _, entries in home(program) for _, data in entries] == [b"piece", b"\nline\n"]
