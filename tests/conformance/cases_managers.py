"""What a manager makes: `multiprocessing.managers`."""

from __future__ import annotations

import operator
import pickle
import threading
from operator import add, iadd, imul, ior

from tests.conformance.cases_sync import LOCKED, locked, other_thread, within
from tests.conformance.harness import NEWER, assigned, case


def iterated(one, change):
    """Iterate over a list that is changed when the first item has come."""
    found = []
    for item in one:
        found.append(item)
        if len(found) == 1:
            change()
    return found


def emptied(one, empty):
    iterator = iter(one)
    empty(one)
    return list(iterator)


def hidden(namespace):
    namespace._hidden = 1
    found = namespace._hidden, str(namespace)
    del namespace._hidden
    return *found, hasattr(namespace, "_hidden")


def filled(manager):
    return manager.dict({"a": 1, "b": [2], (3, 4): None})


REAL_ERROR = "the error itself, not a RemoteError that holds its traceback as text"
NEW = ("__or__", "__ror__", "__ior__", "__reversed__", "fromkeys('ab')", "fromkeys('ab', 5)")


@case(
    "Manager().dict()",
    of="managers.DictProxy",
    differs={
        "dict(5)": REAL_ERROR,
        "_callmethod('nothing')": REAL_ERROR,
        "__iter__ of one that is cleared meanwhile": "goes over the keys that there were when it began",
        **dict.fromkeys(NEW, NEWER),
    },
)
def dictionary(side):
    make = side.manager.dict
    yield "dict()", lambda: make().copy()
    yield "dict({1: 2})", lambda: make({1: 2}).copy()
    yield "dict([(1, 2)], name=3)", lambda: make([(1, 2)], name=3).copy()
    yield "dict(self=1, fresh=2)", lambda: make(self=1, fresh=2).copy()
    yield "dict(5)", lambda: make(5)
    one = filled(side.manager)
    yield "__getitem__('a')", lambda: one["a"]
    yield "__getitem__((3, 4))", lambda: one[3, 4]
    yield "__getitem__('x')", lambda: one["x"]
    yield "__getitem__([])", lambda: one[[]]
    yield "__setitem__('c', {1})", lambda: (one.__setitem__("c", {1}), one["c"])[1]
    yield "__setitem__([], 1)", lambda: one.__setitem__([], 1)
    yield "__delitem__('c')", lambda: one.__delitem__("c")
    yield "__delitem__('c') again", lambda: one.__delitem__("c")
    yield "__contains__", lambda: ("a" in one, "x" in one, None in one)
    yield "__len__", lambda: len(one)
    yield "__iter__", lambda: list(one)
    yield (
        "__iter__ of one that is cleared meanwhile",
        lambda: emptied(make(one.copy()), lambda of: of.clear()),
    )
    yield "__str__", lambda: str(one)
    yield "get('a')", lambda: one.get("a")
    yield "get('x')", lambda: one.get("x")
    yield "get('x', 5)", lambda: one.get("x", 5)
    yield "keys()", one.keys
    yield "values()", one.values
    yield "items()", one.items
    yield "copy()", one.copy
    yield "setdefault('a', 9)", lambda: one.setdefault("a", 9)
    yield "setdefault('d')", lambda: one.setdefault("d")
    yield "pop('d')", lambda: one.pop("d")
    yield "pop('d') again", lambda: one.pop("d")
    yield "pop('d', 5)", lambda: one.pop("d", 5)
    yield "popitem()", one.popitem
    yield "update({'a': 2})", lambda: one.update({"a": 2})
    yield "update([('e', 5)], f=6)", lambda: one.update([("e", 5)], f=6)
    yield "update(5)", lambda: one.update(5)
    yield "copy() after that", one.copy
    other = filled(side.manager)
    yield "__or__", lambda: other | {"z": 1}
    yield "__ror__", lambda: {"a": 0, "z": 1} | other
    yield "__ior__", lambda: ior(other, {"z": 2}).copy()
    yield "__reversed__", lambda: list(reversed(other))
    yield "fromkeys('ab')", lambda: other.fromkeys("ab")
    yield "fromkeys('ab', 5)", lambda: other.fromkeys("ab", 5)
    yield "_getvalue()", one._getvalue
    yield "_callmethod('get', ('e',))", lambda: one._callmethod("get", ("e",))
    yield "_callmethod('nothing')", lambda: one._callmethod("nothing")
    yield "clear()", one.clear
    yield "popitem() of an empty one", one.popitem
    one["inner"] = side.manager.list([1])
    one["inner"].append(2)
    yield "__getitem__('inner'), a shared list", lambda: list(one["inner"])


@case(
    "Manager().list()",
    of="managers.ListProxy",
    differs={
        "list(5)": REAL_ERROR,
        "__iter__ of one that loses what comes next": "1,024 items are fetched at a time",
        **dict.fromkeys(("copy()", "clear()"), NEWER),
    },
)
def sequence(side):
    make = side.manager.list
    yield "list()", lambda: make()[:]
    yield "list('abc')", lambda: make("abc")[:]
    yield "list(5)", lambda: make(5)
    one = make([3, 1, "x", None, [2]])
    for index in (0, -1, 9, slice(1, 3), slice(None, None, -2)):
        yield f"__getitem__({index})", lambda index=index: one[index]
    yield "__getitem__('x')", lambda: one["x"]
    yield "__setitem__(0, 4)", lambda: (one.__setitem__(0, 4), one[:])[1]
    yield "__setitem__(9, 4)", lambda: one.__setitem__(9, 4)
    yield "__setitem__(slice(0, 1), 'ab')", lambda: (one.__setitem__(slice(0, 1), "ab"), one[:])[1]
    yield "__setitem__(slice(0, 4, 2), 'a')", lambda: one.__setitem__(slice(0, 4, 2), "a")
    yield "__delitem__(0)", lambda: (one.__delitem__(0), one[:])[1]
    yield "__delitem__(9)", lambda: one.__delitem__(9)
    yield "__contains__", lambda: ("x" in one, [2] in one, 77 in one)
    yield "__len__", lambda: len(one)
    yield "__iter__", lambda: list(one)
    ab = make("ab")
    yield "__iter__ of one that grows meanwhile", lambda: iterated(ab, lambda: ab.append("c"))
    yield "__iter__ of one that loses what comes next", lambda: iterated(ab, lambda: ab.pop(1))
    yield (
        "__iter__ of one that is cleared before",
        lambda: emptied(ab, lambda of: of.__delitem__(slice(None))),
    )
    yield "__reversed__", lambda: list(reversed(one))
    yield "__str__", lambda: str(one)
    yield "append(5)", lambda: one.append(5)
    yield "append()", lambda: one.append()
    yield "extend('yz')", lambda: one.extend("yz")
    yield "extend(5)", lambda: one.extend(5)
    yield "insert(0, 'first')", lambda: one.insert(0, "first")
    yield "insert(-1, 'late')", lambda: one.insert(-1, "late")
    yield "index('x')", lambda: one.index("x")
    yield "index('x', 4)", lambda: one.index("x", 4)
    yield "index('x', 0, 5)", lambda: one.index("x", 0, 5)
    yield "index('none')", lambda: one.index("none")
    yield "count('x')", lambda: one.count("x")
    yield "pop()", one.pop
    yield "pop(0)", lambda: one.pop(0)
    yield "pop(99)", lambda: one.pop(99)
    yield "remove('x')", lambda: one.remove("x")
    yield "remove('x') again", lambda: one.remove("x")
    yield "reverse()", lambda: (one.reverse(), one[:])[1]
    yield "sort() of a mixture", one.sort
    numbers = make([3, 1, 2])
    yield "sort()", lambda: (numbers.sort(), numbers[:])[1]
    yield "sort(reverse=True)", lambda: (numbers.sort(reverse=True), numbers[:])[1]
    yield "sort(key=abs)", lambda: (numbers.sort(key=abs), numbers[:])[1]
    yield "__add__", lambda: add(numbers, [9])
    yield "__mul__", lambda: numbers * 2
    yield "__rmul__", lambda: 2 * numbers
    yield "__iadd__", lambda: iadd(numbers, [7])[:]
    yield "__imul__", lambda: imul(numbers, 2)[:]
    yield "_getvalue()", numbers._getvalue
    numbers.append(side.manager.dict(x=1))
    numbers[-1]["y"] = 2
    yield "__getitem__(-1), a shared dict", lambda: numbers[-1].copy()
    yield "copy()", lambda: ab.copy()
    yield "clear()", lambda: (ab.clear(), len(ab))


SET_STEPS = {
    "set()": lambda make: make().copy(),
    "set('ab')": lambda make: make("ab").copy(),
    "set(5)": lambda make: make(5),
    **{
        f"{name}({', '.join(map(repr, args))})": lambda make, name=name, args=args: _called(make, name, args)
        for name, args in (
            *((name, ("b",)) for name in ("add", "remove", "discard", "__contains__")),
            *((name, ("x",)) for name in ("remove", "discard", "__contains__")),
            ("add", ([],)),
            *((name, ()) for name in ("clear", "copy", "__len__")),
            *(
                (name, ({"b", "x"},))
                for name in (
                    *("union", "intersection", "difference", "symmetric_difference"),
                    *("update", "intersection_update", "difference_update", "symmetric_difference_update"),
                    *("isdisjoint", "issubset", "issuperset"),
                )
            ),
            *((name, (5,)) for name in ("union", "update", "issubset")),
            ("union", ("x", "yz")),
        )
    },
    **{
        f"{name}, of a set": lambda make, name=name: getattr(operator, name)(make("ab"), {"b", "x"})
        for name in ("__or__", "__and__", "__sub__", "__xor__", "__lt__", "__le__", "__gt__", "__ge__")
    },
    **{
        f"{name}, of a set": lambda make, name=name: _within(getattr(operator, name)(make("ab"), {"b", "x"}))
        for name in ("__ior__", "__iand__", "__isub__", "__ixor__")
    },
    "__ror__": lambda make: {"x"} | make("ab"),
    "__rand__": lambda make: {"b"} & make("ab"),
    "__rsub__": lambda make: {"b", "x"} - make("ab"),
    "__rxor__": lambda make: {"b", "x"} ^ make("ab"),
    "__or__, of a list": lambda make: make("ab") | ["x"],
    "__iter__": lambda make: sorted(make("ab")),
    "__str__": lambda make: str(make("a")),
    "pop()": lambda make: make("a").pop(),
    "pop() of an empty one": lambda make: make().pop(),
    "_getvalue()": lambda make: make("ab")._getvalue(),
}


def _within(one):
    return type(one).__name__ if isinstance(one, set) else one.copy()


def _called(make, name, args):
    """Return what a method of a shared set returns, and what the set holds then."""
    one = make("abc")
    return getattr(one, name)(*args), one.copy()


@case(
    "Manager().set()",
    of="managers.SetProxy",
    needs=(3, 14),
    differs={**dict.fromkeys(SET_STEPS, NEWER), "set(5)": REAL_ERROR},
)
def shared_set(side):
    def make(*given):
        return side.manager.set(*given)

    for label, step in SET_STEPS.items():
        yield label, lambda step=step: step(make)


@case("Manager().Namespace()", of="managers.NamespaceProxy", differs={"Namespace(1)": REAL_ERROR})
def namespace(side):
    one = side.manager.Namespace(x=1, name="n")
    yield "Namespace(x=1)", lambda: one.x
    yield "Namespace(name='n')", lambda: one.name
    yield "__setattr__('x', 2)", lambda: assigned(one, "x", 2)
    yield "__getattr__('y')", lambda: one.y
    yield "__delattr__('x')", lambda: delattr(one, "x")
    yield "__delattr__('x') again", lambda: delattr(one, "x")
    yield "__str__", lambda: str(one)
    yield "_hidden, of the proxy itself", lambda: hidden(one)
    yield "Namespace(1)", lambda: side.manager.Namespace(1)


@case("Manager().Value()", of="managers.ValueProxy", differs={"Value('i')": REAL_ERROR})
def value(side):
    one = side.manager.Value("i", 5)
    yield "Value('i', 5)", lambda: one.value
    yield "get()", one.get
    yield "set(6)", lambda: one.set(6)
    yield "value", lambda: one.value
    yield "__str__", lambda: str(one)
    yield "__str__, pickled", lambda: str(pickle.loads(pickle.dumps(one)))
    yield "__str__, of a type", lambda: str(side.manager.Value(int, [1]))
    yield "value = 'any'", lambda: assigned(one, "value", "any")
    yield "Value('anything', None)", lambda: side.manager.Value("anything", None).value
    yield "Value('i', [1], lock=False)", lambda: side.manager.Value("i", [1], lock=False).get()
    yield "Value('i')", lambda: side.manager.Value("i")


@case(
    "Manager().Array()",
    of="managers.ArrayProxy",
    differs={
        "__setitem__(slice(0, 1), longer)": "its length stays",
        **dict.fromkeys(("Array('x', [])", "Array('b', [300])", "Array('i', 3)"), REAL_ERROR),
    },
)
def array(side):
    import array

    one = side.manager.Array("i", [1, 2, 3])
    yield "Array('i', [1, 2, 3])", lambda: one[:]
    yield "Array('d', range(2))", lambda: side.manager.Array("d", range(2))[:]
    yield "Array('u', 'abc')", lambda: side.manager.Array("u", "abc")[:]
    yield "Array('x', [])", lambda: side.manager.Array("x", [])
    yield "Array('b', [300])", lambda: side.manager.Array("b", [300])
    yield "Array('i', 3)", lambda: side.manager.Array("i", 3)
    yield "__len__", lambda: len(one)
    yield "__getitem__(0)", lambda: one[0]
    yield "__getitem__(9)", lambda: one[9]
    yield "__getitem__(slice(1, None))", lambda: one[1:]
    yield "__setitem__(0, 7)", lambda: (one.__setitem__(0, 7), one[0])[1]
    yield "__setitem__(0, 'x')", lambda: one.__setitem__(0, "x")
    yield (
        "__setitem__(slice(0, 1), array)",
        lambda: (one.__setitem__(slice(0, 1), array.array("i", [9])), one[:])[1],
    )
    longer = array.array("i", [9, 9])
    yield "__setitem__(slice(0, 1), longer)", lambda: (one.__setitem__(slice(0, 1), longer), one[:])[1]


# -- locks and signals, as in `threading` ------------------------------------------------------------


def _taking(lock):
    """Steps of everything that has an `acquire` with the arguments of `threading`: free at first."""
    calls = {
        "acquire()": lock.acquire,
        "acquire(True)": lambda: lock.acquire(True),
        "acquire(False)": lambda: lock.acquire(False),
        "acquire(True, 5)": lambda: lock.acquire(True, 5),
        "acquire(1, 2)": lambda: lock.acquire(1, 2),
    }
    for label, call in calls.items():
        yield label, call
        lock.release()
    for args in ((False, 5), (True, "x"), (True, -2)):
        yield f"acquire{args}", lambda args=args: _briefly(lock, *args)
    yield "__enter__", lambda: within(lock)
    lock.acquire()
    yield "acquire(False) of one that is taken", lambda: other_thread(lambda: lock.acquire(False))
    yield "acquire(True, 0.01) of one that is taken", lambda: other_thread(lambda: lock.acquire(True, 0.01))
    yield "release()", lock.release


def _briefly(lock, *args):
    """Return what `acquire` returns, and leave the lock free."""
    taken = lock.acquire(*args)
    if taken:
        lock.release()
    return taken


@case("Manager().Lock()", of="managers.AcquirerProxy", differs=LOCKED)
def lock(side):
    one = side.manager.Lock()
    yield from _taking(one)
    yield from locked(one)
    yield "release() of a free one", one.release
    yield "release() by another thread", lambda: (one.acquire(), other_thread(one.release))[1]


@case("Manager().RLock()", of="managers.AcquirerProxy", differs=LOCKED)
def rlock(side):
    one = side.manager.RLock()
    yield from _taking(one)
    yield from locked(one)
    yield "release() of a free one", one.release
    one.acquire()
    yield "acquire() again", one.acquire
    yield "release() by another thread", lambda: other_thread(one.release)


ITS_LOCKED = dict.fromkeys(LOCKED, "is there, as that of `multiprocessing.Semaphore()` from Python 3.14 on")
AT_ONCE = "is refused at once, not only where it would have to wait"


@case(
    "Manager().Semaphore()",
    of="managers.AcquirerProxy",
    differs={"Semaphore(-1)": REAL_ERROR, "acquire(True, 'x')": AT_ONCE, **ITS_LOCKED},
)
def semaphore(side):
    yield from locked(side.manager.Semaphore())
    yield from _taking(side.manager.Semaphore())
    one = side.manager.Semaphore(0)
    yield "Semaphore(0)", lambda: one.acquire(False)
    yield "release() more often than acquired", one.release
    yield "acquire(True, -1)", lambda: one.acquire(True, -1)
    yield "Semaphore(-1)", lambda: side.manager.Semaphore(-1)
    yield "Semaphore(value=2)", lambda: side.manager.Semaphore(value=2).acquire()


@case(
    "Manager().BoundedSemaphore()",
    of="managers.AcquirerProxy",
    differs={"BoundedSemaphore(-1)": REAL_ERROR, "acquire(True, 'x')": AT_ONCE, **ITS_LOCKED},
)
def bounded_semaphore(side):
    one = side.manager.BoundedSemaphore(1)
    yield from locked(one)
    yield from _taking(one)
    yield "release() more often than acquired", one.release
    yield "BoundedSemaphore(-1)", lambda: side.manager.BoundedSemaphore(-1)


@case("Manager().Event()", of="managers.EventProxy")
def event(side):
    one = side.manager.Event()
    yield "is_set()", one.is_set
    yield "wait(0.01)", lambda: one.wait(0.01)
    yield "wait(timeout=0)", lambda: one.wait(timeout=0)
    yield "wait('x')", lambda: one.wait("x")
    yield "set()", one.set
    yield "wait()", one.wait
    yield "clear()", one.clear
    yield "is_set() when it was cleared", one.is_set


@case("Manager().Condition()", of="managers.ConditionProxy", differs=LOCKED)
def condition(side):
    one = side.manager.Condition()
    yield "wait(0) without the lock", lambda: one.wait(0)
    yield "notify() without the lock", one.notify
    yield "notify_all() without the lock", one.notify_all
    yield from _taking(one)
    yield from locked(one)
    one.acquire()
    yield "wait(0)", lambda: one.wait(0)
    yield "wait(timeout=0.01)", lambda: one.wait(timeout=0.01)
    yield "wait_for(predicate)", lambda: one.wait_for(lambda: "yes")
    yield "wait_for(predicate, 0.01)", lambda: one.wait_for(lambda: 0, 0.01)
    yield "notify()", one.notify
    yield "notify(2)", lambda: one.notify(2)
    yield "notify_all()", one.notify_all
    yield "release() at the end", one.release
    lock = side.manager.Lock()
    yield "Condition(lock)", lambda: within(side.manager.Condition(lock))


@case("Manager().Barrier()", of="managers.BarrierProxy")
def barrier(side):
    one = side.manager.Barrier(1)
    yield "wait()", one.wait
    yield "wait(5)", lambda: one.wait(5)
    yield "parties", lambda: one.parties
    yield "n_waiting", lambda: one.n_waiting
    yield "broken", lambda: one.broken
    yield "abort()", one.abort
    yield "wait() of a broken one", one.wait
    yield "reset()", one.reset
    yield "Barrier(2, timeout=0.01)", lambda: side.manager.Barrier(2, timeout=0.01).wait()

    def meet():
        pair = side.manager.Barrier(2)
        got: list[int] = []
        threads = [threading.Thread(target=lambda: got.append(pair.wait(10))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        return sorted(got)

    yield "wait() of two", meet


# -- queues, as in `queue` -------------------------------------------------------------------------


def _queue(make, name):
    one = make()
    yield "put('a')", lambda: one.put("a")
    yield "get()", one.get
    yield "put(item='b')", lambda: one.put(item="b")
    yield "put('c', False)", lambda: one.put("c", False)
    yield "qsize()", one.qsize
    yield "empty()", one.empty
    yield "full()", one.full
    one.put("d")
    yield "get(True, 5)", lambda: one.get(True, 5)
    yield "get_nowait()", lambda: (one.put("e"), one.get_nowait())[1]
    while not one.empty():
        one.get()
    yield "get_nowait() of an empty one", one.get_nowait
    yield "get(timeout=0.01)", lambda: one.get(timeout=0.01)
    yield "get(False, -1)", lambda: one.get(False, -1)
    yield "get(True, -1)", lambda: one.get(True, -1)
    small = make(1)
    yield f"{name}(1)", lambda: small.put(1)
    yield "put_nowait(2) of a full one", lambda: small.put_nowait(2)
    yield "put(2, True, 0.01) of a full one", lambda: small.put(2, True, 0.01)
    yield "put(2, True, -1)", lambda: small.put(2, True, -1)
    yield "full() of one that is", small.full
    yield f"{name}(-1)", lambda: make(-1).full()
    done = make()
    yield "task_done() of an empty one", done.task_done
    yield "join()", done.join
    done.put(1)
    done.get()
    yield "task_done()", done.task_done
    yield "join() when all is done", done.join


@case("Manager().Queue()")
def manager_queue(side):
    yield from _queue(side.manager.Queue, "Queue")


@case("Manager().JoinableQueue()")
def manager_joinable_queue(side):
    yield from _queue(side.manager.JoinableQueue, "JoinableQueue")
