"""Measure which event loop the server should run on; print a table.

    python -m tests.bench.loop_trial [--rounds N] [--seconds S] [--idle N] [--only TEXT]

Rules:
- All variants run at the same time, each in a process of its own; a round visits every variant once, so that
  the drift of the machine falls on all alike. Figures are medians of rounds.
- Rates say what a user would see, and on a busy machine mostly what the scheduler did. The processor time
  that the server spent per frame is the steadier figure, and stands beside each rate.
- Clients are processes with blocking sockets and TCP_NODELAY, started once and told over their standard
  input what to do.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import time
from typing import cast

from tests.bench.children import Child
from tests.bench.loop_servers import HEADER, VARIANTS

PATIENCE_S = 60.0
BASE = "uvloop Protocol + writelines"

ALL = tuple(sorted(os.sched_getaffinity(0)))

# name: clients, bytes of a frame, frames under way at once, processors of the server and of the clients
CASES: dict[str, tuple[int, int, int, tuple[int, ...], tuple[int, ...]]] = {
    "1 client, 60 B, on one core": (1, 60, 1, ALL[:1], ALL[:1]),
    "1 client, 60 B, across cores": (1, 60, 1, ALL[:1], ALL[-1:]),
    "8 clients, 60 B": (8, 60, 1, ALL, ALL),
    "8 clients, 64 under way": (8, 60, 64, ALL, ALL),
    "1 client, 1 MiB": (1, 20 + (1 << 20), 1, ALL[:1], ALL[-1:]),
}


# --- a client process -----------------------------------------------------------------------------


def client_main() -> None:
    """Do what each line of standard input says; answer with one line of JSON."""
    held: list[socket.socket] = []
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "hold":
            held = [socket.create_connection(("127.0.0.1", order["port"])) for _ in range(order["count"])]
            answer: dict[str, float] = {"held": len(held)}
        elif order["do"] == "drop":
            for sock in held:
                sock.close()
            answer, held = {"held": 0}, []
        else:
            answer = exchange(order["port"], order["size"], order["window"], order["seconds"])
        print(json.dumps(answer), flush=True)


def exchange(port: int, size: int, window: int, seconds: float) -> dict[str, float]:
    """Send `window` frames of `size` bytes, read as many, again for `seconds`; return what was counted."""
    frame = HEADER.pack(size - 20, 7, 0, 1, 0) + bytes(size - 20)
    batch, need = frame * window, size * window
    room = bytearray(need)
    took: list[float] = []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin = before = time.perf_counter()
        while before - begin < seconds:
            sock.sendall(batch)
            got = 0
            while got < need:
                got += sock.recv_into(memoryview(room)[got:]) or sys.exit("server closed")
            now = time.perf_counter()
            took.append(now - before)
            before = now
    return {"frames": len(took) * window, "seconds": before - begin, "p50": statistics.median(took)}


# --- measuring ------------------------------------------------------------------------------------

Figures = dict[str, float]


def measure(
    server: Child, port: int, clients: list[Child], size: int, window: int, seconds: float
) -> Figures:
    """Let `clients` loose on one server; return frames/s of all, median latency, server µs per frame."""
    before = server.cpu_s()
    for client in clients:
        client.tell(do="exchange", port=port, size=size, window=window, seconds=seconds)
    answers = [client.hear(PATIENCE_S) for client in clients]
    frames = sum(answer["frames"] for answer in answers)
    return {
        "rate": sum(answer["frames"] / answer["seconds"] for answer in answers),
        "p50_us": statistics.median(answer["p50"] for answer in answers) * 1e6,
        "cpu_us": (server.cpu_s() - before) / frames * 1e6,
    }


def measure_idle(name: str, clients: list[Child], count: int, seconds: float) -> Figures:
    """Open `count` idle connections; return the server's KiB for each and a busy client's latency meanwhile.

    On a fresh server: one that has worked keeps memory it was given, and would hide what connections take.
    """
    holder, caller = clients[0], clients[1]
    server = Child("-m", "tests.bench.loop_servers", name)
    try:
        port = cast(int, server.hear(PATIENCE_S))
        server.pin(ALL[:1])
        caller.pin(ALL[-1:])
        measure(server, port, [caller], 60, 1, seconds / 4)  # whatever is allocated at the first call
        before = server.rss_bytes()
        holder.tell(do="hold", port=port, count=count)
        holder.hear(PATIENCE_S)
        figures = measure(server, port, [caller], 60, 1, seconds)
        figures["kib"] = (server.rss_bytes() - before) / count / 1024
        holder.tell(do="drop")
        holder.hear(PATIENCE_S)
    finally:
        server.end()
    return figures


def run(names: list[str], rounds: int, seconds: float, idle: int) -> dict[str, dict[str, Figures]]:
    """Run all rounds; return medians by case and variant."""
    servers = {name: Child("-m", "tests.bench.loop_servers", name) for name in names}
    clients = [Child("-m", "tests.bench.loop_trial", "--client") for _ in range(8)]
    samples: dict[str, dict[str, list[Figures]]] = {}
    try:
        ports = {name: cast(int, server.hear(PATIENCE_S)) for name, server in servers.items()}
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            for case, (count, size, window, near, far) in CASES.items():
                for client in clients:
                    client.pin(far)
                for name, server in servers.items():
                    server.pin(near)
                    figures = measure(server, ports[name], clients[:count], size, window, seconds)
                    samples.setdefault(case, {}).setdefault(name, []).append(figures)
        samples[f"{idle} idle connections"] = {
            name: [measure_idle(name, clients, idle, seconds)] for name in names
        }
    finally:
        for child in [*clients, *servers.values()]:
            child.end()
    return {case: {name: medians(found) for name, found in row.items()} for case, row in samples.items()}


def medians(found: list[Figures]) -> Figures:
    """Return the median of each figure."""
    return {key: statistics.median(figures[key] for figures in found) for key in found[0]}


def table(result: dict[str, dict[str, Figures]]) -> str:
    """Return the figures as a Markdown table, rates as ratios to the variant `BASE`."""
    lines = []
    for case, row in result.items():
        memory = "kib" in next(iter(row.values()))
        lines += [f"**{case}** ({row[BASE]['rate']:,.0f} frames/s = 1.00)", ""]
        lines += ["| loop | rate | p50 µs | server µs a frame |" + (" KiB each |" if memory else "")]
        lines += ["|---|--:|--:|--:|" + ("--:|" if memory else "")]
        for name, it in row.items():
            cells = [
                name,
                f"{it['rate'] / row[BASE]['rate']:.2f}",
                f"{it['p50_us']:,.0f}",
                f"{it['cpu_us']:,.1f}",
            ]
            lines.append("| " + " | ".join(cells + ([f"{it['kib']:.1f}"] if memory else [])) + " |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Run the trial and print its table."""
    parser = argparse.ArgumentParser(description="Measure which event loop the server should run on.")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds, each visits every loop once (default: 5)"
    )
    parser.add_argument("--seconds", type=float, default=0.7, help="length of one measurement (default: 0.7)")
    parser.add_argument("--idle", type=int, default=2000, help="idle connections (default: 2000)")
    parser.add_argument(
        "--only", default="", help="only the loops with this text in their names, and the base"
    )
    options = parser.parse_args()
    names = [name for name in VARIANTS if name == BASE or options.only in name]
    print(table(run(names, options.rounds, options.seconds, options.idle)))


if __name__ == "__main__":
    client_main() if sys.argv[1:] == ["--client"] else main()
