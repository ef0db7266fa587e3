"""What manager clients do, a step a line; `steps.py` runs them on both sides and says what the notes mean."""

QUEUE = """
q = m.Queue(2)
q
q.empty()
q.full()
q.qsize()
q.put(1)
q.put(item=2, block=False)
q.full()
q.put(3, block=False)
q.put(3, False)
q.put(3, True, 0.01)
q.put(3, timeout=0.01)
q.put(3, timeout=0)
q.put(3, block=False, timeout=-1)
q.put(3, block=0)
q.put_nowait(3)
q.put_nowait(item=3)
q.put(3, timeout=-1)
q.put(3, timeout="soon")
q.put(3, block=False, timeout="soon")
q.put()
q.put(1, 2, 3, 4)
q.put(1, blocking=True)
q.put_nowait(1, 2)
q.qsize()
q.get()
q.get(block=True, timeout=1)
q.get(False)
q.get(block=False)
q.get(timeout=0.01)
q.get(True, 0)
q.get(timeout=-1)
q.get(timeout="soon")
q.get(True, 0.01, 3)
q.get(wait=True)
q.get_nowait()
q.get_nowait(1)
q.empty()
q.full(1)
q.task_done()
q.task_done()
q.task_done()
q.join()
q.join(1)
q.put([1, {"a": (2, 3)}])
q.get()
q.put(None)
q.get(timeout=None)
q.put("x" * 100000)
len(q.get())
q.put(Point(1, 2))
q.get()
q.maxsize
q.queue
q.foo()
len(q)
call(q, "_put", 1)
call(q, "maxsize")
call(q, "__len__")
call(q, "put")
q._getvalue()
copy.deepcopy(q)
copy.copy(q)
str(q)  #: any
repr(q)
m.Queue()
m.Queue(0).full()
m.Queue(-1).full()
m.Queue(maxsize=1).full()
m.Queue(True).full()
m.Queue(1, 2)
m.Queue(size=1)
m.Queue(1.5)  #: RemoteError
m.Queue("1")  #: RemoteError
m.Queue(None)  #: RemoteError
bool(q)
q.put
q == q
q == m.Queue()
waiting = Thread(q.get, True, WAIT_S)
q.put("for who waits")
waiting.result()
j = m.JoinableQueue(1)
j
j.put(1)
waiting = Thread(j.put, 2)
j.get()
waiting.result()
joined = Thread(j.join)
j.task_done()
j.get(timeout=1)
j.task_done()
joined.result()
j.join()
j.task_done()
m.JoinableQueue(maxsize=3).full()
"""

QUEUE_SHUTDOWN = """
# from 3.13
q = m.Queue(2)
q.put(1)
q.put(2)
waiting = Thread(q.put, 3)
q.shutdown()
waiting.result()
q.put(3)
q.put(3, block=False)
q.get()
q.get()
q.get()
q.get(block=False)
q.get_nowait()
j = m.JoinableQueue()
j.put(1)
joined = Thread(j.join)
j.shutdown(immediate=True)
joined.result()
j.get()
j.task_done()
j.shutdown(True, 1)
"""

EVENT = """
e = m.Event()
e
e.is_set()
e.wait(0.01)
e.wait(timeout=0)
e.wait(-1)
e.wait("long")
e.wait(0.01, 2)
e.set()
e.is_set()
e.wait()
e.wait(None)
e.set()
e.clear()
e.is_set()
e.foo
e.isSet()
call(e, "isSet")
call(e, "is_set", 1)
e._getvalue()
str(e)  #: any
waiting = Thread(e.wait, WAIT_S)
e.set()
waiting.result()
m.Event(True)
bool(e)
"""

LOCK = """
l = m.Lock()
l
l.acquire()
l.acquire(False)
l.acquire(blocking=False)
l.acquire(True, 0.01)
l.acquire(timeout=0.01)
l.acquire(timeout=0)
l.acquire(True, -5)  #: words
l.acquire(False, 1)
l.acquire(False, -1)
call(l, "acquire", blocking=False)
call(l, "acquire", 1, timeout=0.01)
call(l, "acquire", True, None)
call(l, "acquire", timeout="long")
call(l, "acquire", True, 1e300)  #: words
call(l, "acquire", 1, 2, 3)
call(l, "acquire", wait=True)
l.release()
l.release()  #: words
call(l, "release", 1)
l.acquire()
call(l, "locked")  #: = True
call(l, "__enter__")
l.foo()
waiting = Thread(l.acquire)
l.release()
waiting.result()
l.release()
l.__enter__()
l.__exit__(None, None, None)
l._getvalue()
str(l)  #: any
repr(l)
m.Lock(1)
Thread(l.acquire).result()
l.release()
"""

RLOCK = """
r = m.RLock()
r
r.acquire()
r.acquire()
r.acquire(False)
Thread(r.acquire, False).result()
Thread(r.acquire, True, 0.01).result()
Thread(r.release).result()
r.release()
r.release()
waiting = Thread(r.acquire, timeout=WAIT_S)
r.release()
waiting.result()
r.release()
r.acquire(True, -5)  #: words
r.acquire(False, 1)
call(m.RLock(), "acquire", "yes")  #: <3.12 any
call(r, "locked")  #: any
r._getvalue()
str(r)  #: any
m.RLock(1)  #: RemoteError
"""

SEMAPHORE = """
s = m.Semaphore(2)
s
s.acquire()
s.acquire(True, 1)
s.acquire(False)
s.acquire(blocking=False)
s.acquire(timeout=0.01)
s.acquire(True, -1)
s.acquire(timeout="long")
s.acquire(False, 1)
call(s, "acquire", False, None)
s.release()
s.acquire(False)
s.acquire(False)
waiting = Thread(s.acquire)
s.release()
waiting.result()
s._value
call(s, "get_value")
s.foo
s._getvalue()
str(s)  #: any
m.Semaphore().acquire(False)
m.Semaphore(value=3)
m.Semaphore(0).acquire(False)
m.Semaphore(-1)
m.Semaphore("x")
m.Semaphore(1, 2)
b = m.BoundedSemaphore(1)
b
b.release()
b.acquire()
b.acquire(False)
b.release()
b.release()
m.BoundedSemaphore().acquire(False)
m.BoundedSemaphore(value=0).release()
m.BoundedSemaphore(-1)
with_s = m.Semaphore(1)
with_s.__enter__()
with_s.acquire(False)
with_s.__exit__(None, None, None)
with_s.acquire(False)
"""

SEMAPHORE_OF_SEVERAL = """
# from 3.9
s = m.Semaphore(0)
call(s, "release", 2)
call(s, "release", n=1)
call(s, "release", 0)
call(s, "release", -1)
call(s, "release", "x")
s.acquire(False)
s.acquire(False)
s.acquire(False)
s.acquire(False)
b = m.BoundedSemaphore(1)
call(b, "release", 1)
"""

CONDITION = """
c = m.Condition()
c
c.wait(0.01)
c.notify()
c.notify_all()
c.release()
c.acquire()
c.acquire()
c.acquire(False)
c.acquire(True, 1)
c.wait(0.01)
c.wait(timeout=0)
c.wait(-1)
c.notify()
c.notify(3)
c.notify(n=0)
c.notify(-1)  #: <3.10 any
c.notify("x")  #: TypeError
c.notify_all()
Thread(c.acquire, False).result()
Thread(c.release).result()
c.wait_for(lambda: True)
c.wait_for(lambda: False, 0.01)
c.release()
c.release()
c.release()
c.release()
c.release()
c.foo
call(c, "notifyAll")  #: any
call(c, "wait_for", 1)
c._getvalue()
str(c)  #: any
ready = threading.Event()
waiting = Thread(release_after, c, lambda: (ready.set(), c.wait(WAIT_S))[1])
ready.wait(WAIT_S)
release_after(c, c.notify)
waiting.result()
ready.clear()
waiting = Thread(release_after, c, lambda: (ready.set(), c.wait(WAIT_S))[1])
ready.wait(WAIT_S)
release_after(c, c.notify_all)
waiting.result()
m.Condition(1)
m.Condition(1, 2)
m.Condition(None)
"""

BARRIER = """
b = m.Barrier(2)
b
b.parties
b.n_waiting
b.broken
other = Thread(b.wait)
mine = b.wait()
sorted([mine, other.result()])
b.n_waiting
b.wait(0.01)
b.broken
b.wait()
b.reset()
b.broken
b.abort()
b.broken
b.wait(1)
b.reset()
b.wait(timeout=0)
b.reset()
b.wait("long")
b.reset()
b.wait(-1)
b.foo
b.wait(1, 2)
call(b, "__getattribute__", "parties")
call(b, "__getattribute__", "nothing")
call(b, "__getattribute__", "_lock")  #: AttributeError
b._getvalue()
str(b)  #: any
one = m.Barrier(1)
one.wait()
one.wait()
m.Barrier(parties=3).parties
m.Barrier(1, None).wait()
m.Barrier(2, None, 0.01).wait()
m.Barrier(2, timeout=0.01).wait()
m.Barrier(2, timeout=0.01).wait(0)
m.Barrier(2, print)  #: NotImplementedError
m.Barrier(2, action=print, timeout=1)  #: NotImplementedError
m.Barrier()
m.Barrier(1, 2, 3, 4)
m.Barrier("x")  #: any
"""

DICT = """
d = m.dict()
d
d["a"] = 1
d["a"]
d["b"]
d[("b", 1)]
d[Point(1, 2)]
d[None]
del d["b"]
del d[Point(1, 2)]
d[[1]]
d[[1]] = 1
d[{}] = 1
d[1] = "int"
d[1.0]
d[True]
d[2] = [1, 2]
d[2].append(3)
d[2]
d[(1, "x")] = {"k": {1, 2}}
d[(1, "x")]
d[frozenset([1, 2])] = b"bytes"
d[frozenset([2, 1])]
d[Point(1, 2)] = "point"
d[Point(1, 2)]
d[10**40] = "large"
d[10**40]
d[-1] = "minus"
len(d)
"a" in d
"b" in d
[1] in d
Point(1, 2) in d
Point(2, 1) in d
d.get("a")
d.get("b")
d.get("b", 5)
d.get("b", Point(3, 4))
d.get(key="a")
d.get("b", default=1)
d.get([1])
d.get()
d.get(1, 2, 3)
d.keys()
d.values()
d.items()
d.keys(1)
sorted(map(str, d.keys()))
d.copy()
type(d.copy())
d._getvalue()
copy.copy(d)
copy.deepcopy(d)
dict(d)
list(d)
str(m.dict({1: "a", "b": [None, (2,)], (3, "c"): {4}, frozenset([5]): b"d", 10**40: {"e": 0.5}}))
m.dict({"p": Point(1, 2)})._getvalue()
str(m.dict({"p": Point(1, 2)}))  #: any
d.pop("a")
d.pop("a")
d.pop("a", 7)
d.pop("a", None)
d.pop("a", default=None)
d.pop([1])
d.pop([1], None)
d.pop()
d.setdefault("s", 1)
d.setdefault("s", 2)
d.setdefault("t")
d.setdefault("u", default=1)
d.setdefault([1], 1)
d.update({"v": 1})
d.update([("w", 2), ("x", 3)])
d.update(y=4)
d.update({"z": 5}, zz=6)
d.update()
d.update(None)
d.update(5)
d.update([1])
d.update([(1, 2, 3)])
d.update({}, {})
d.update("ab")
d.update(["ab"])
d.update({1: 2}.items())
d.update(i for i in [])
len(d)
d.popitem()
d.clear()
d.clear(1)
d.popitem()
d.popitem(1)
d
d.has_key("a")
d.fromkeys([1, 2])  #: <3.14 any
d | {"a": 1}  #: <3.14 any
d.__missing__
d.foo()
call(d, "__class__")
call(d, "__init__")
call(d, "__eq__", {})
call(d, "__reduce__")
d == {}
d == d
bool(d)
bool(m.dict(a=1))
m.dict({"a": 1}).items()
m.dict([("a", 1), ("b", 2)]).items()
m.dict((("a", 1), ("b", 2))).items()
m.dict(a=1, b=2).items()
m.dict({"a": 1}, b=2).items()
m.dict(5)
m.dict([1])
m.dict([(1, 2, 3)])
m.dict({}, {})
m.dict(i for i in [])
m.dict({1: 2}.items()).items()
m.dict({[1][0]: 2}).items()
m.dict(self=1, key=2).items()
m.dict(typeid=1).items()  #: any
"""

DICT_ITERATION = """
d = m.dict([(i, i * i) for i in range(5)])
list(d)
[k for k in d]
it = iter(d)
it
next(it)
list(it)
next(it)
next(it, "end")
it.__next__()
iter(it) is it
it = iter(d)
it.send(1)
it.throw(ValueError)
it.close()
it.foo
call(it, "__length_hint__")
call(it, "__next__", 1)
next(iter(m.dict()))
d2 = m.dict({(1, 2): 3, Point(1, 2): 4, "x": 5})
sorted(map(str, d2))
it = iter(d)
d[99] = 1
next(it)  #: = 0
len(list(it))  #: = 4
list(reversed(m.dict(a=1)))  #: <3.14 any
sum(d.values())
max(d)
{**d}
dict(d) == d.copy()
"""

LIST = """
l = m.list()
l
l.append(1)
l.append([2, 3])
l.append("four")
l
len(l)
l[0]
l[1]
l[-1]
l[3]
l[-4]
l["a"]
l[None]
l[1.0]
l[True]
l[0:2]
l[::-1]
l[::2]
l[5:]
l[::0]
l["a":]
l[1.5:]
l[None:None]
l[0] = "zero"
l[0]
l[3] = 1
l["a"] = 1
l[1][0] = 5
l[1]
l[1:2] = [7, 8, 9]
l[:]
l[0:0] = (1, 2)
l[::2] = ["even"]
l[::2] = ["e"] * len(l[::2])
l[:]
l[0:1] = "ab"
l[0:1] = 5
l[::2] = 5
l[0:2] = {1: 2}
l[:]
l[:] = range(6)
l[0:1] = b"x"
l[0:1] = []
l[:]
del l[0]
del l[-1]
del l[99]
del l["a"]
del l[0:2]
del l[::0]
l[:]
l.extend([1, 2])
l.extend((3, 4))
l.extend("ab")
l.extend(range(2))
l.extend({1})
l.extend({5: 6})
l.extend(5)
l.extend(None)
l.extend()
l.extend(iterable=[1])
l.extend(i for i in [])
l[:]
l.insert(0, "first")
l.insert(99, "last")
l.insert(-1, "before last")
l.insert("a", 1)
l.insert(0)
l.insert(1.5, 2)
l.pop()
l.pop(0)
l.pop(-1)
l.pop(99)
l.pop("a")
l.pop(0, 1)
l.remove(1)
l.remove("nothing")
l.remove()
l.index("a")
l.index("nothing")  #: words
l.index("b", 1)
l.index("b", 0, 1)  #: words
l.index("b", 0, None)
l.index("b", -99, 99)
l.index("b", -2**70, 2**70)
l.index("b", 2**70)  #: words
l.index(1, "x")
l.index()
l.count(1)
l.count("nothing")
l.count(1.0)
1 in l
True in l
"nothing" in l
[1] in m.list([[1]])
Point(1, 2) in m.list([Point(1, 2)])
m.list([Point(1, 2)]).index(Point(1, 2))
m.list([Point(1, 2)]).count(Point(2, 1))
float("nan") in m.list([float("nan")])  #: = True
l.reverse()
l.reverse(1)
l[:]
l[:] = [3, 1, 2]
l.sort()
l[:]
l.sort(reverse=True)
l[:]
l.sort(reverse=0)
l.sort(key=str)  #: NotImplementedError
l.sort(key=None)
l.sort(1)
l.sort(reverse="x")  #: <3.12 any
l.sort()
l.sort(foo=1)
m.list([1, "a"]).sort()
m.list([(2, "b"), (1, "a")]).sort()
m.list([{}, {}]).sort()
m.list([None, None]).sort()
m.list([Point(1, 2)]).sort()  #: any
m.list([Point(1, 2), Point(0, 1)]).sort()  #: NotImplementedError
l + [4]
l + (4,)
l + "x"
l + None
[0] + l
l * 2
2 * l
l * -1
l * 0
l * "x"
l * 1.5
l += [9]
l
l[:]
l += "yz"
l[:]
l += 5
l *= 2
l
l[:]
l *= -1
l[:]
l *= "x"
l[:] = [1, 2, 3]
list(l)
[x for x in l]
tuple(reversed(l))
reversed(l)
sum(l)
sorted(l)
a, b, c = l
iter(l)
l._getvalue()
copy.copy(l)
copy.deepcopy(l)
str(l)
repr(l)
str(m.list(["a", 1.5, None, (1,), {"k": [1]}, {1}, b"b"]))
bool(l)
l == [1, 2, 3]
l == l
l.clear  #: <3.14 any
l.copy  #: <3.14 any
l.foo
call(l, "__iter__")
call(l, "__class__")
call(l, "__sizeof__")
call(l, "__imul__", 2)
m.list(range(5))[:]
m.list("abc")[:]
m.list((1, 2))[:]
m.list({"a": 1})[:]
m.list({1: 1}.keys())[:]
m.list(b"ab")[:]
m.list([[1], [2]])[1]
m.list(5)
m.list(None)
m.list([1], [2])
m.list(sequence=[1])
m.list(i for i in [])
m.list(Point(1, 2))  #: any
m.list([1, 2]) + m.list([3])  #: TypeError
x = m.list([1])
x.append(x[0])
x.append(Point(1, 2))
x[:]
x[1].x
del x
"""

ARGUMENTS = """
l = m.list()
l.extend(collections.deque([1, 2]))
l.extend(collections.deque([1, 2, 3], 2))
l.extend(collections.OrderedDict(a=1, b=2))
l.extend(collections.Counter("aab"))
l.extend(array.array("d", [1.5]))
l.extend({1: 2}.values())
l.extend({1: 2}.items())
l[:]
m.list(collections.deque("ab"))[:]
m.list(array.array("i", [1, 2]))[:]
d = m.dict()
d.update(collections.OrderedDict(a=1))
d.update(collections.defaultdict(int, b=2))
d.update(collections.Counter("xxy"))
d.update({"z": 1}.items())
d.update(collections.deque([("q", 1)]))
d.items()
m.dict(collections.OrderedDict([("b", 1), ("a", 2)])).items()
other = m.list([1, 2])
l.extend(other)
l[0:1] = other
l += other
l.extend(m.dict(k=1).keys())
l[:]
d.update(m.dict(shared=1))
sorted(d.keys())
m.set([1]).union(other)
m.set([1]).issuperset(m.set([1]))  #: = True
x = m.set([1])
x.update(other, [7])
sorted(x)
sorted(x.union(m.set([9])))  #: = [1, 2, 7, 9]
x | m.set([9])
l.append(other)
l[-1][:]
l.extend(m.Lock())
l.extend(5)
m.list([1]) == m.list([1])
l.extend(Point(1, 2))  #: NotImplementedError
l.extend(Listed([1]))  #: NotImplementedError
d.update(Mapped(a=1))  #: NotImplementedError
d.update([Pair(1, 2)])  #: NotImplementedError
m.list(range(2, 8, 3))[:]
m.list(range(10**30))  #: RemoteError
l[Grown(0)]  #: TypeError
l.pop(Grown(0))  #: TypeError
"""

SET = """
s = m.set([1, 2])
s
s.add(3)
s.add(3)
s.add([1])
s.add((1, Point(1, 2)))
(1, Point(1, 2)) in s
1 in s
9 in s
[1] in s
len(s)
s.remove((1, Point(1, 2)))
s.remove(9)
s.remove([9])
s.discard(9)
s.discard(3)
s.copy()
s._getvalue()
list(s)
sorted(s)
s | {5}
s & {1}
s - {1}
s ^ {1, 7}
{5} | s
{1} & s
{1, 9} - s
{1, 9} ^ s
s | [5]
s < {1, 2, 3}
s <= {1, 2}
s > {1}
s >= {1, 2}
s > [1]
s.union([5], [6])
s.union()
s.intersection([1, 2], [2])
s.difference([1])
s.symmetric_difference([1, 7])
s.isdisjoint([9])
s.issubset([1, 2, 3])
s.issuperset([1])
s.issuperset(5)
s.update([5], {6})
s.update()
s.update(5)
sorted(s)
s.difference_update([5])
s.intersection_update([1, 2, 6])
s.symmetric_difference_update([6, 7])
sorted(s)
call(s, "__ior__", {8})
call(s, "__iand__", {8, 1})
call(s, "__isub__", {8})
call(s, "__ixor__", {3})
call(s, "__ior__", [3])
sorted(s)
str(m.set([1]))
str(m.set())
s.clear()
s.pop()
s.add("only")
s.pop()
len(s)
s.add(None)
s.foo
s.add()
s.add(1, 2)
m.set()
m.set("aab").copy()
m.set(range(3)).copy()
m.set({"k": 1}).copy()
m.set([[1]])
m.set(5)
m.set([1], [2])
m.set([Point(1, 2), Point(1, 2)]).copy()
copy.deepcopy(m.set([1]))
bool(m.set())
"""

NAMESPACE = """
n = m.Namespace()
n
n.x = 1
n.x
n.y
n.y = [1, 2]
n.y.append(3)
n.y
n.point = Point(1, 2)
n.point
n.none = None
n.none
del n.x
n.x
del n.x
n._private = 5
n._private
n._missing
del n._private
hasattr(n, "x")
getattr(n, "x", 7)
str(m.Namespace(b=2, a=1))
str(m.Namespace(b="text", a=[None]))
m.Namespace(_hidden=3)  #: RemoteError
repr(n)
n._getvalue()
vars(m.Namespace(x=1)._getvalue())
type(m.Namespace(x=1)._getvalue()).__name__
copy.deepcopy(m.Namespace(x=1))
m.Namespace(x=1, y=Point(1, 2)).y
m.Namespace(1)
m.Namespace({"a": 1})
m.Namespace(self=1).self
call(n, "__getattribute__", "y")
call(n, "__getattribute__", 5)
call(n, "__setattr__", 5, 1)
call(n, "__setattr__", "a b", 1)
call(n, "__getattribute__", "a b")
call(n, "__getattribute__", "__class__")  #: AttributeError
call(n, "__getattribute__", "__dict__")  #: AttributeError
call(n, "__getattribute__", "_hidden")  #: any
call(n, "__dir__")
call(n, "__delattr__", "nothing")
n.__class__.__name__
"""

VALUE = """
v = m.Value("i", 5)
v
v.value
v.get()
v.value = 6
v.value
v.set(7)
v.get()
v.value += 1
v.value
v.value = "text"
v.value
v.value = Point(1, 2)
v.value
v.set()
v.set(1, 2)
v.set(value=3)
v.get(1)
call(v, "value")
v._typecode
v.foo
v.value = 1.5
str(v)
str(m.Value("d", 1.5))
str(m.Value("", None))
m.Value(None, 5).value
repr(v)
v._getvalue().get()
type(v._getvalue()).__name__
copy.deepcopy(v).get()
m.Value("i", 0).value
m.Value("i", 0, lock=True).value
m.Value("i", 0, False).value
m.Value(typecode="i", value=3).value
m.Value("nonsense", "anything").value
m.Value("i")
m.Value("i", 1, True, 2)
m.Value()
with_lock = m.Value("i", 1).get_lock()
"""

ARRAY = """
a = m.Array("i", range(5))
a
len(a)
a[0]
a[-1]
a[5]
a["x"]
a[1.0]
a[1:3]
a[::-1]
a[:]
a[0] = 9
a[0]
a[0] = "x"
a[0] = 1.5
a[0] = 2**40
a[9] = 1
a["x"] = 1
a[0] = True
a[1:3] = array.array("i", [7, 8])
a[:]
a[1:3] = array.array("i", [1])
a[:]
a[0:1] = [1]
a[0:1] = array.array("d", [1])
a[::2] = array.array("i", [1])  #: words
a[::2] = array.array("i", [0, 0])
a[:]
list(a)
sum(a)
3 in a
str(a)
a._getvalue()
copy.deepcopy(a)
a.foo
a.append(1)
call(a, "append", 1)
call(a, "__delitem__", 0)
len(m.Array("d", [1.5, 2.5]))
m.Array("d", [1.5, 2])[:]
m.Array("d", (1,))[0]
m.Array("f", [0.5])[0]
m.Array("B", [255])[:]
m.Array("B", [256])
m.Array("B", b"ab")[:]
m.Array("i", bytes(8))[:]
m.Array("i", bytes(7))
m.Array("u", "ab")  #: RemoteError
m.Array("i", [])[:]
m.Array("i", array.array("i", [1, 2]))[:]
m.Array("i", array.array("d", [1, 2]))
m.Array("d", array.array("i", [1, 2]))[:]
m.Array("i", {1: 2})[:]
m.Array("i", 5)
m.Array("i", [1.5])
m.Array("i", ["x"])
m.Array("i", "ab")
m.Array("x", [1])
m.Array(5, [1])
m.Array("ii", [1])
m.Array("i")
m.Array("i", [1], False)[0]
m.Array("i", [1], lock=True)[0]
m.Array(typecode="i", sequence=[1])[0]
m.Array("i", [1], True, 1)
m.Array("q", [2**62])[0]
m.Array("Q", [2**63])[0]
a[0] = None
"""

NESTED = """
d = m.dict()
l = m.list()
d["list"] = l
d["list"]
d["list"].append(1)
l[:]
d["list"] == l
str(d["list"])
l.append(d)
l[1]
l[1]["list"][0]
str(m.list([m.list([1])]))  #: = "[<ListProxy object, typeid 'list'>]"
d["deep"] = {"in": [l, (l,)]}
d["deep"]["in"][1][0][0]
n = m.Namespace()
n.d = d
n.d["list"][0]
q = m.Queue()
q.put(d)
q.put((l, 5))
q.get()["list"][0]
q.get()[0][0]
v = m.Value("i", 0)
v.value = l
v.value[0]
ll = m.list([m.list([i]) for i in range(3)])
[inner[0] for inner in ll]
ll[0][0] = "changed"
ll[0][:]
ll[0:2][0][0]
d["lock"] = m.Lock()
d["lock"].acquire(False)
d["lock"].acquire(False)
d["lock"].release()
d["event"] = m.Event()
d["event"].set()
d["event"].is_set()
# a nested AutoProxy is beyond Python 3.8's server
d["queue"] = m.Queue(1)  #: <3.9 any
d["queue"].put(1)  #: <3.9 any
d["queue"].get()  #: <3.9 any
d["queue"].qsize()  #: <3.9 any
d["condition"] = m.Condition()
d["barrier"] = m.Barrier(1)
d["barrier"].wait()
d["semaphore"] = m.Semaphore(1)
d["semaphore"].acquire(False)
d["rlock"] = m.RLock()
d["array"] = m.Array("i", [1, 2])
d["array"][1]
d["value"] = m.Value("i", 3)
d["value"].value
d["namespace"] = m.Namespace(x=1)
d["namespace"].x
sorted(k for k in d.keys())  #: <3.9 any
d.values()[0]
d.pop("list")[0]
del d["queue"]  #: <3.9 any
clone = pickle.loads(pickle.dumps(l))
clone
clone.append("by the clone")
l[-1]
shared = m.list([1])
holder = m.list([shared, shared])
del shared
holder[0].append(2)
holder[1][:]
holder[0] == holder[1]
inner = m.dict()
holder.append(inner)
holder.index(inner)  #: = 2
inner in holder  #: = True
holder.remove(inner)  #: = None
len(holder)  #: = 2
"""

COUNTS = """
base = m._number_of_objects()
d = m.dict()
q = m.Queue()
m._number_of_objects() - base
del q
m._number_of_objects() - base
twin = pickle.loads(pickle.dumps(d))
del d
m._number_of_objects() - base
twin["still"] = "there"
twin["still"]
del twin
m._number_of_objects() - base
l = m.list([1, 2])
it = iter(m.dict(a=1))
m._number_of_objects() - base
del it
m._number_of_objects() - base
l = None
m._number_of_objects() - base
c = m.Condition()
m._number_of_objects() - base  #: any
"refcount=1" in m._debug_info()
type(m._debug_info())
"""

MISUSE = """
m._create("nothing")
m.Pool(1)  #: NotImplementedError
m.nothing()
d = m.dict()
call(d, "nothing")
call(d, "")
call(d, "__getitem__")
call(d, "__getitem__", 1, 2)
call(d, "get", nothing=1)
call(d, 5)
d._callmethod("get", ["a"])
d._callmethod("get", ("a",), {})
d._callmethod("get", "a")
d._callmethod("get", None)  #: RemoteError
d._callmethod("get", 5)  #: RemoteError
d[1] = threading.Lock()
d[1] = lambda: 1
d[1] = (i for i in [])
d["after"] = "still works"
d["after"]
d.update({1: threading.Lock()})
1 in d
gone = m.list()
ghost = pickle.loads(pickle.dumps(gone))
m._number_of_objects() > 0
"""

VALUES = """
d = m.dict()
d["v"] = 1; d["v"]
d["v"] = 10**100; d["v"]
[d.__setitem__("v", v) or d["v"] for v in (None, True, 0, -1, 2**31, -2**63, 2**64, 0.1, 1e300, 1j)]
[d.__setitem__("v", v) or d["v"] for v in ("", "x", "x" * 300, b"", b"x" * 300, bytearray(b"x"))]
[d.__setitem__("v", v) or d["v"] for v in ([], {}, set(), (), frozenset(), (1,), [[]], {"a": {}}, {1}, frozenset([1]))]
[d.__setitem__("v", v) or d["v"] for v in (..., NotImplemented, range(3), slice(1, 2, 3), int, len, ValueError, os.path.join)]
[d.__setitem__("v", v) or d["v"] for v in (Point(1, 2), Point, [Point(1, Point(2, 3))], {Point(1, 2): Point(3, 4)})]
[d.__setitem__("v", v) or d["v"] for v in (decimal.Decimal("1.50"), fractions.Fraction(1, 3), uuid.UUID(int=5))]
[d.__setitem__("v", v) or d["v"] for v in (datetime.datetime(2020, 1, 2, 3), datetime.timedelta(1), datetime.timezone.utc)]
[d.__setitem__("v", v) or d["v"] for v in (collections.OrderedDict(a=1), collections.Counter("aab"), collections.deque([1], 5))]
[d.__setitem__("v", v) or d["v"] for v in (collections.defaultdict(list, a=[1]), array.array("i", [1, 2]), pathlib.PurePosixPath("/a/b"))]
[d.__setitem__("v", v) or d["v"] for v in (functools.partial(int, "5"), operator.itemgetter(1), re.compile("a+"))]
[d.__setitem__("v", v) or d["v"] for v in (ValueError("x", 1), KeyError("k"), OSError(2, "No such file"))]
[d.__setitem__("v", v) or d["v"] for v in (Colour.RED, Pair(1, 2), Slotted(1), Grown(5), Listed([1, 2]), Mapped(a=1))]
d["v"] = functools.partial(int, "5"); d["v"]()
same = [1]
d["v"] = [same, same]; d["v"][0] is d["v"][1]
loop = []
loop.append(loop)
d["v"] = loop; d["v"][0][0] is not None
"""

SCENARIOS = {name.lower(): script for name, script in list(globals().items()) if name.isupper()}
