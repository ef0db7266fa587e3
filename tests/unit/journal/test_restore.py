"""Rows that are whole and cannot have been written: their reading ends as it does at any other damage."""

import pytest

from mpserve.core.t_list import MAX_REPEATED
from mpserve.engines.journal.codec import Damaged
from mpserve.engines.journal.restore import Restorer

LIST = ("", "created", ("2f", "list", None, {}))
FILLED = ("2f", "extended", ([b"N."] * 3,))
ARRAY = ("", "created", ("1f", "array", None, {"typecode": "i", "numbers": [1, 2]}))


def test_a_list_that_was_repeated_beyond_what_a_call_makes_today():
    restorer = Restorer()
    restorer.apply([LIST, ("2f", "extended", ([b"x"],)), ("2f", "repeated", (MAX_REPEATED + 1,))])
    assert restorer.catalogue.objects["2f"].statistics()["length"] == MAX_REPEATED + 1


@pytest.mark.parametrize(
    "change",
    [
        ("1f", "replaced", (None, None, None, [1 << 40])),
        ("1f", "replaced", (0, 2, 0, [1])),
        ("1f", "set", (9, 1)),
        ("1f", "set", (0, "text")),
        ("1f", "no such change", ()),
        ("2f", "repeated", (1 << 40,)),
        ("none", "set", (0, 1)),
    ],
)
def test_a_change_that_does_not_fit_is_damage(change):
    restorer = Restorer()
    restorer.apply([ARRAY, LIST, FILLED])
    with pytest.raises(Damaged, match="does not fit what came before it"):
        restorer.apply([change])
