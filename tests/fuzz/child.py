"""One target under atheris, in a process of its own: `python -m tests.fuzz.child TARGET ARGUMENT…`.

The arguments are libFuzzer's. Every input goes through the rule of `rule.py`; what breaks it ends the
process, as libFuzzer has it, with the input in a file. libFuzzer's own limits stand behind: time for what
never comes back from C, memory for all inputs together.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from random import Random

import atheris

# Whatever is to be led by its coverage is loaded in here, and nothing of it earlier.
with atheris.instrument_imports(include=["mpshared", "mpserve", "mpclient"]):
    targets = importlib.import_module("tests.fuzz.targets")

from tests.fuzz.rule import bound_memory, use


def main() -> None:
    target = targets.BY_NAME[sys.argv[1]]

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        most = min(max_size, target.input_max_bytes)
        changed: bytes = target.mutate(bytes(data), Random(seed), lambda part: atheris.Mutate(part, most))
        return changed[:most]

    atheris.Setup([sys.argv[0], *sys.argv[2:]], partial(use, target), custom_mutator=mutate)
    bound_memory()
    atheris.Fuzz()


if __name__ == "__main__":
    main()
