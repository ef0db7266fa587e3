"""Places for worker processes, and what is read of the machine."""

from __future__ import annotations

import pytest

from mpclient.worker.host.slots import Slot
from mpclient.worker.options import usable_cores


def test_a_new_slot_is_due():
    assert Slot("a").due_s == 0.0


def test_processes_that_end_at_once_are_replaced_later_and_later():
    slot = Slot("a")
    delays = []
    for _ in range(8):
        slot.emptied(at_once=False)
        delays.append(slot.delay_s)
        assert slot.due_s is not None
        assert slot.due_s > 0
    assert delays == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_a_finished_slot_is_not_due_until_it_begins_anew():
    slot = Slot("a")
    slot.finish()
    assert (slot.finished, slot.due_s) == (True, None)
    slot.begin_anew()
    assert not slot.finished
    assert slot.due_s is not None


def test_coming_to_work_forgets_failed_starts():
    slot = Slot("a")
    slot.failed_starts = 3
    slot.came_to_work()
    assert (slot.failed_starts, slot.has_worked) == (0, True)


@pytest.mark.parametrize(
    ("text", "most"), [("100000 100000\n", 1), ("50000 100000\n", 1), ("max 100000\n", None), ("", None)]
)
def test_a_containers_cpu_limit_counts(tmp_path, text, most):
    file = tmp_path / "cpu.max"
    file.write_text(text)
    everything = usable_cores(tmp_path / "none")
    assert usable_cores(file) == (most or everything)
    assert everything >= 1
