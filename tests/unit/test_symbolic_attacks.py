"""Pickles made to harm whoever opens them: nothing runs, and what would cost too much is refused at once."""

import os
import pickle
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import pytest

from mpshared.symbolic import (
    DEFAULT,
    LARGE,
    OWN,
    ForeignOrder,
    Global,
    How,
    Limits,
    MalformedPickle,
    Opaque,
    PickleTooComplex,
    Stub,
    dump,
    equal,
    key,
    load,
    matcher,
    plain_order,
    text,
)
from mpshared.symbolic.plain import is_plain

MANY = 30_000  # levels; a few hundred bytes a level of C stack, if anything recursed


class Run:
    """Pickles as a call of whatever is given."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


# -- nothing runs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_call_of_os_system_stays_text(protocol, tmp_path):
    mark = tmp_path / "mark"
    obj = load(pickle.dumps([Run(os.system, f"touch {mark}")], protocol))
    again = load(dump(obj, face=OWN))
    for found in (obj, again):
        assert isinstance(found, list)
        (stub,) = found
        assert isinstance(stub, Stub)
        assert (stub.how, stub.callee, stub.args) == (
            How.CALL,
            Global(os.system.__module__, "system"),
            (f"touch {mark}",),
        )
    assert text(obj) == f"[<posix.system('touch {mark}')>]"
    assert equal(obj, again)
    hash(key(stub))
    assert not mark.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cantigravity\nfly\n.",
        b"\x80\x04\x8c\x0bantigravity\x8c\x03fly\x93.",
        b"\x80\x02cantigravity\nfly\n)R.",
        b"\x80\x02cantigravity\nFly\n)\x81}b.",
        b"\x80\x04\x8c\x0bantigravity\x8c\x11__class__.__mro__\x93)R.",
    ],
)
def test_names_are_never_imported(data):
    obj = load(data)
    text(obj), key(obj), matcher(data)(data), dump(obj, face=OWN)
    assert "antigravity" not in sys.modules


def test_a_dotted_name_is_one_text():
    data = b"\x80\x04\x8c\x02os\x8c\x1apath.__class__.__bases__.x\x93."
    assert load(data) == Global("os", "path.__class__.__bases__.x")


def test_a_getattr_chain_cannot_write_a_longer_name_than_it_is_itself():
    data = b"\x80\x02cm\nx\n" + b"".join(
        b"q\x00cbuiltins\ngetattr\nh\x00X\x32\x00\x00\x00" + b"a" * 50 + b"\x86R" for _ in range(2000)
    )
    assert len(text(load(data + b"."), limit=10_000)) <= 10_000


def test_methods_of_stubs_are_not_called():
    obj = load(b"\x80\x04\x8c\x08builtins\x8c\x04list\x93\x8c\x08builtins\x8c\x03set\x93)R\x85R.")
    assert isinstance(obj, Stub)
    assert obj.args == (set(),)


# -- what is refused by its form ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cut off"),
        (b".", "cannot be read"),
        (b"\x80\x04", "cut off"),
        (b"\x80\x06N.", "protocol 6"),
        (b"\x80\x04N.N.", "follow the end"),
        (b"(lp0\n.", "protocol 0 or 1"),
        (b"I1\n.", "protocol 0 or 1"),
        (b"U\x01a.", "protocol 0 or 1"),
        (b"\x80\x02(cos\nsystem\no.", "protocol 0 or 1"),
        (b"(ios\nsystem\n.", "protocol 0 or 1"),
        (b"\x80\x02\x82\x01.", "copyreg"),
        (b"\x80\x02\x84\x01\x00\x00\x00.", "copyreg"),
        (b"P1\n.", "persistent_id"),
        (b"\x80\x02NQ.", "persistent_id"),
        (b"\x80\x02N2.", "DUP"),
        (b"\xff.", "no opcode"),
        (b"\x80\x05\x97.", "out-of-band buffer"),
        (b"\x80\x02]K\x01R.", "calls with a int"),
        (b"\x80\x02K\x01)R.", "calls a int"),
        (b"\x80\x02]}b.", "a list a state"),
        (b"\x80\x02K\x01K\x02a.", "append to a int"),
        (b"\x80\x02}(K\x01u.", "without a value"),
        (b"\x80\x02}]K\x01s.", "unhashable"),
        (b"\x80\x02h\x07.", "cannot be read"),
        (b"\x80\x04\x8c\x02\xff\xff.", "cannot be read"),
        (b"\x80\x04K\x01K\x02\x93.", "what is no text"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.", "cut off|cannot be read"),
        (b"\x80\x05N\x98.", "read-only"),
    ],
)
def test_what_no_pickler_writes_is_refused(data, why):
    with pytest.raises(MalformedPickle, match=why):
        load(data)


# -- memory ---------------------------------------------------------------------------------------

HUGE = (1 << 31) - 1


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02Nr\x00\x00\x00\x01.",  # a memo of 256 MiB
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # of 32 GiB
        b"\x80\x02B" + HUGE.to_bytes(4, "little") + b"x.",
        b"\x80\x02X" + HUGE.to_bytes(4, "little") + b"x.",
        b"\x80\x02\x8b" + HUGE.to_bytes(4, "little") + b"x.",
        b"\x80\x02\x8b\xff\xff\xff\xffx.",
        b"\x80\x04\x8e" + (1 << 62).to_bytes(8, "little") + b"x.",
        b"\x80\x04\x8d" + (1 << 62).to_bytes(8, "little") + b"x.",
        b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"x.",
        b"\x80\x05\x95" + (1 << 40).to_bytes(8, "little") + b"N.",
    ],
)
def test_what_is_announced_is_not_allocated(data):
    tracemalloc.start()
    try:
        with pytest.raises(MalformedPickle):
            load(data)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1 << 20


def test_a_call_that_would_allocate_is_left_to_its_reader():
    obj = load(
        b"\x80\x04\x8c\x08builtins\x8c\x09bytearray\x93\x8a\x06" + (10**13).to_bytes(6, "little") + b"\x85R."
    )
    assert isinstance(obj, Stub)
    assert obj.args == (10**13,)


@pytest.mark.parametrize("call", [b"cbuiltins\nbytearray\n", b"cbuiltins\nset\n", b"cbuiltins\nfrozenset\n"])
def test_copies_of_one_thing_are_counted(call):
    content = b"B\x00\x10\x00\x00" + bytes(4096) if b"bytearray" in call else b"](" + b"K\x01" * 4096 + b"e"
    data = b"\x80\x03" + call + b"q\x00" + content + b"q\x01(" + b"h\x00h\x01\x85R" * 4096 + b"t."
    with pytest.raises(PickleTooComplex, match="over and over"):
        load(data)


def test_long_text_is_shown_as_far_as_asked():
    shared = ["x" * 100_000] * 1000
    assert len(text(load(pickle.dumps(shared)), limit=500)) == 500
    for large in (1 << 100_000_000, range(1 << 20_000), slice(1 << 20_000)):
        assert len(text(large, limit=500)) == 500


def test_opaque_values_within_opaque_values_are_opened_so_far_only():
    data = pickle.dumps(1)
    for _ in range(3000):
        data = dump(Opaque(data), face=OWN)
    obj, deeper = Opaque(data), Opaque(dump(Opaque(data), face=OWN))
    assert len(text(obj)) < 100
    with pytest.raises(PickleTooComplex):
        key(obj)
    with pytest.raises(PickleTooComplex, match="steps"):
        equal(obj, deeper, steps=100_000)
    assert equal(obj, deeper)


# -- keys that are dear to hash -------------------------------------------------------------------


@pytest.mark.parametrize("levels", [30, 100, 200])
@pytest.mark.parametrize(
    "wrap",
    [
        (b"}", b"Ns"),
        (b"}(", b"Nu"),
        (b"\x8f(", b"\x90"),
        (b"(", b"\x91"),
        (b"cbuiltins\nset\n](", b"e\x85R"),
        (b"cbuiltins\nfrozenset\n](", b"e\x85R"),
    ],
    ids=["setitem", "setitems", "set", "frozenset", "set()", "frozenset()"],
)
def test_a_key_of_doubling_size_is_refused(wrap, levels):
    start, end = wrap
    shared = b"K\x01\x85\x94" + b"".join(b"h%c" % level * 2 + b"\x86\x94" for level in range(levels))
    with pytest.raises(PickleTooComplex, match="smaller key"):
        load(b"\x80\x04" + shared + start + b"h%c" % levels + end + b".")


@pytest.mark.parametrize("padding", [b"", b"X\x00\x10\x00\x00" + b"x" * 4096 + b"0"], ids=["short", "long"])
def test_a_deep_key_is_refused_and_does_not_end_the_process(padding):
    for shape in (b")" + b"\x85" * MANY, b")" * MANY + b"\x86" * (MANY - 1), b"()" + b"t" + b"\x85" * MANY):
        with pytest.raises(MalformedPickle):
            load(b"\x80\x04" + padding + b"}" + shape + b"Ns.")


COLLIDING = list(product((-1, -2), repeat=13))  # hash(-1) == hash(-2), so all of these hash alike


@pytest.mark.parametrize("container", ["dict", "set", "frozenset"])
def test_keys_made_to_collide_are_refused(container):
    kinds: dict[str, Any] = {"dict": dict.fromkeys, "set": set, "frozenset": frozenset}
    with pytest.raises(PickleTooComplex, match="same hash"):
        load(pickle.dumps(kinds[container](COLLIDING[:3000])))


def test_large_numbers_made_to_collide_are_refused():
    data = pickle.dumps([(n * ((1 << 61) - 1) << 64, None) for n in range(1, 3000)])
    pairs = load(data)
    assert isinstance(pairs, list)
    with pytest.raises(PickleTooComplex, match="same hash"):
        load(b"\x80\x04}(" + b"".join(pickle.dumps(n, 2)[2:-1] + b"N" for n, _ in pairs) + b"u.")


def test_one_large_key_hashed_again_and_again_is_refused():
    data = b"\x80\x04(" + b"K\x01" * 5000 + b"t\x94]" + b"}h\x00Nsa" * 10_000 + b"."
    with pytest.raises(PickleTooComplex, match="again and again"):
        load(data)


def test_honest_keys_are_none_of_these():
    grid = {(x, y, z): x for x, y, z in product(range(-12, 12), repeat=3)}
    assert load(pickle.dumps(grid)) == grid
    large = {tuple(range(5000)): 1, ((((((1,),),),),),): 2}
    assert load(pickle.dumps(large)) == large
    names = ["name", "size"]
    rows = [dict.fromkeys(names, (n, (n,))) for n in range(1000)]
    assert load(pickle.dumps(rows)) == rows


def test_limits_of_ones_own_are_kept():
    data = pickle.dumps({(1, 2, 3): 1})
    assert load(data) == {(1, 2, 3): 1}
    with pytest.raises(PickleTooComplex):
        load(data, limits=Limits(key_nodes=2))
    with pytest.raises(PickleTooComplex):
        key((1, (2,)), limits=Limits(key_depth=1))


# -- how many parts one may have ---------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [b"]", b"\x8f", b"(", b"]\x94", b"\x8c\x00", b"\x88h\x00", b")\x85"])
def test_opcodes_without_end_are_refused_at_a_bounded_cost(opcode):
    """A million of them against the limit that everybody has; against an eighth of it, an eighth."""
    share = 1 if opcode == b"]" else 8
    padding, limits = opcode * ((1 << 20) // share), Limits(objects=DEFAULT.objects // share)
    tracemalloc.start()
    try:
        with pytest.raises(PickleTooComplex, match=f"more than {limits.objects} parts.*in smaller parts"):
            load(b"\x80\x04N\x940(" + padding + b"t.", limits=limits)
        assert tracemalloc.get_traced_memory()[1] < 300 * limits.objects
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "leaf", [b"N", b"K\x01", b"M\x01\x01", b"J\x01\x01\x01\x01", b"\x8c\x02ab\x94", b"C\x02ab\x94"]
)
def test_nor_are_there_numbers_and_texts_without_end(leaf):
    share = 1 if leaf == b"N" else 8
    limits = Limits(objects=DEFAULT.objects // share)
    tracemalloc.start()
    try:
        with pytest.raises(PickleTooComplex):
            load(b"\x80\x04(" + leaf * (2_000_000 // share) + b"t.", limits=limits)
        assert tracemalloc.get_traced_memory()[1] < 400 * limits.objects
    finally:
        tracemalloc.stop()


def test_honest_large_values_have_fewer_parts():
    numbers: list[Any] = list(range(600_000)) + [n / 7 for n in range(500_000)]
    texts = {f"name {n}": f"text {n}" for n in range(100_000)}
    for value in (numbers, tuple(numbers), texts, "x" * (1 << 24), bytes(1 << 24), [bytes(1 << 20)] * 16):
        assert load(pickle.dumps(value)) == value
    objects = [Run(print, n) for n in range(10_000)]
    assert len(load(pickle.dumps(objects), limits=LARGE)) == 10_000  # type: ignore[arg-type]


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_run_that_is_read_at_once_keeps_the_memo_right(protocol):
    """What was memoized within a run is referred to after it, and before the next one."""
    words = [f"word {n}" for n in range(40)]
    rows = [
        [*words, n, *words, float(n), f"new {n}".encode(), f"newer {n}", *words, None, -n] for n in range(60)
    ]
    assert load(pickle.dumps([rows, rows, {"x" * 70_000: words}], protocol)) == [
        rows,
        rows,
        {"x" * 70_000: words},
    ]


# -- the fast way lets none of them through -------------------------------------------------------


@pytest.mark.parametrize("protocol", range(4, 6))
def test_plain_data_goes_the_fast_way(protocol):
    rows = [{"name": f"n{n}", "size": n, "parts": [1.5, None, b"x" * 300]} for n in range(100)]
    request: object = ("ident", "put", (rows,), {})
    objects: list[object] = [
        None,
        5,
        "text",
        request,
        {"a": {1, 2}},
        rows,
        ["x" * 100_000, list(range(5000))],
    ]
    for obj in objects:
        assert is_plain(pickle.dumps(obj, protocol))


def test_what_is_not_proved_cheap_does_not():
    shared = (1, 2)
    for obj in (
        [{shared: 1}, {shared: 2}, ["x"] * 600],
        {(n,): n for n in range(1000)},
        len,
        {1: frozenset([1])},
    ):
        assert not is_plain(pickle.dumps(obj))
        assert equal(load(pickle.dumps(obj)), load(pickle.dumps(obj)))


# -- deep and shared values, which are read, and must not hurt later ------------------------------


def deep(opening, closing, levels=MANY, limits=DEFAULT):
    if opening == b"}K\x01":
        return load(b"\x80\x04" + opening * levels + b"N" + closing * levels + b".", limits=limits)
    return load(b"\x80\x04" + opening * levels + closing * (levels - 1) + b".", limits=limits)


DEEP = [(b"]", b"a"), (b")", b"\x86"), (b"cm\nC\n)\x81", b"b"), (b"}K\x01", b"s")]


@pytest.mark.parametrize("shape", DEEP)
def test_a_deep_value_is_shown_compared_and_refused_elsewhere(shape):
    obj, other = deep(*shape), deep(*shape)
    assert len(text(obj, limit=2000)) <= 2000
    assert equal(obj, other)
    with pytest.raises((PickleTooComplex, TypeError)):
        key(obj)
    with pytest.raises((PickleTooComplex, ForeignOrder)):
        plain_order(obj)


@pytest.mark.parametrize("shape", DEEP)
@pytest.mark.parametrize("levels", [MANY, 500_000])
def test_a_deep_value_is_written_whole_or_refused_in_any_thread(shape, levels):
    """C writes plain ones as deep as it dares: from Python 3.14 on that is up to the thread's stack."""
    limits = Limits(objects=5 * levels)
    obj = deep(*shape, levels=levels, limits=limits)

    def write():
        try:
            return dump(obj, face=OWN)
        except PickleTooComplex as error:
            assert "nested deeper" in str(error)
            return None

    with ThreadPoolExecutor(1) as thread:
        for data in (write(), thread.submit(write).result()):
            if sys.version_info < (3, 14) or shape[0].startswith(b"c"):
                assert data is None
            elif data is not None:
                assert equal(load(data, limits=limits), obj)


def test_a_value_that_doubles_is_read_compared_shown_and_written():
    data = b"\x80\x04]\x94" + b"".join(b"](h%c" % n + b"h%ce\x94" % n for n in range(100)) + b"."
    obj = load(data)
    assert len(text(obj, limit=1000)) == 1000
    assert equal(obj, load(data))
    assert len(dump(obj, face=OWN)) < 2 * len(data)
    with pytest.raises(PickleTooComplex):
        plain_order(obj)


def test_comparing_is_bounded_by_what_was_sent():
    numbers = list(range(2000, 3000))  # small ones exist once, and are not compared
    items = load(pickle.dumps(numbers))
    with pytest.raises(PickleTooComplex, match="steps"):
        equal(items, load(pickle.dumps(numbers)), steps=10)


def test_members_made_to_collide_are_not_compared():
    class_c = b"cm\nC\nq\x00"
    members = b"".join(
        b"h\x00" + pickle.dumps(key, 2)[2:-1].partition(b"q")[0] + b"\x81" for key in COLLIDING[:3000]
    )
    obj, other = (
        load(b"\x80\x03" + class_c + b"0cbuiltins\nset\n](" + members + b"e\x85R.") for _ in range(2)
    )
    assert isinstance(obj, set)
    assert len(obj) == 3000
    with pytest.raises(PickleTooComplex, match="same hash"):
        equal(obj, other)


def test_a_deep_value_can_be_dropped():
    program = (
        "from mpshared.symbolic import LARGE, load\n"
        "for shape in ((b')', b'\\x86'), (b']', b'a'), (b'cm\\nC\\n)\\x81', b'b')):\n"
        "    load(b'\\x80\\x04' + shape[0] * 90_000 + shape[1] * 89_999 + b'.', limits=LARGE)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
