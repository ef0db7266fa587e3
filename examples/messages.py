"""Passing messages: a process gets an object through a queue and answers through a pipe.

python examples/messages.py                            this machine, server and workers included
MPSERVE_ADDRESS=host:7707 python examples/messages.py  a cluster's workers
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mpclient as multiprocessing


@dataclass
class Greeting:
    """A message like any other: whatever can be pickled travels."""

    name: str

    def __str__(self) -> str:
        return f"Hello, {self.name}"


def answer(inbox: Any, reply: Any) -> None:
    greeting = inbox.get()
    who = multiprocessing.current_process().name
    print(f"{who} received: {greeting}")
    reply.send({"from": who, "text": f"{greeting}, too"})
    reply.close()


def main() -> None:
    inbox: Any = multiprocessing.Queue()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=answer, args=(inbox, theirs), name="Answerer")
    process.start()
    theirs.close()
    inbox.put(Greeting("world"))
    message = ours.recv()
    print("answer of", message["from"] + ":", message["text"])
    try:
        ours.recv()
    except EOFError:
        print("the other end is closed")
    process.join()
    print("exit code:", process.exitcode)


if __name__ == "__main__":
    main()
