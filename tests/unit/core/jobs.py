"""What programs and workers do with a queue of jobs, in one line each."""

from dataclasses import replace

from mpshared.values import Value, by_value_tag

CODE_311 = Value(by_value_tag((3, 11)), b"code of 3.11")
CODE_312 = Value(by_value_tag((3, 12)), b"code of 3.12")


def worker(world, python=(3, 11)):
    lane = world.lane(role="worker")
    lane.session.info = replace(lane.session.info, python=python, host="far", pid=4711, name="w")
    return lane


def put(world, lane, q, *blobs):
    world.ask(lane, q, "put_many", 0, blobs=list(blobs))


def exchange(world, lane, q, done=(), n=10, timeout_s=0, results=None, blobs=()):
    """Return (jobs, values, ended, lost)."""
    call = world.call(
        lane, q, "exchange", results, [list(r) for r in done], n, timeout_s, None, blobs=list(blobs)
    )
    jobs, ended, _, lost, _, _ = world.arrived(call)
    return jobs, list(call.out), ended, lost
