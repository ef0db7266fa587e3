"""What programs and workers do with a pool, in one line each."""


def worker(world, python=(3, 11), **more):
    """Begin a worker process; return its lane."""
    return world.lane(role="worker", python=python, pools=True, **more)


def submit(world, lane, pool, *blobs):
    """Submit jobs with the next numbers."""
    world.ask(lane, pool, "submit", pool.ready.next, blobs=list(blobs))


def exchange(world, lane, tasks, done=(), n=10, timeout_s=0, pool=None, blobs=()):
    """Return the call."""
    done = [list(pair) for pair in done]
    return world.call(lane, tasks, "exchange", None, done, n, timeout_s, pool, blobs=list(blobs))


def collect(world, lane, pool, n=100):
    """Return ([(number, result), …], unfinished)."""
    call = world.call(lane, pool, "collect", n, 0)
    ranges, unfinished = world.arrived(call)
    numbers = [number for lo, hi in ranges for number in range(lo, hi + 1)]
    return list(zip(numbers, call.out, strict=True)), unfinished
