"""Inputs that are worth keeping, in `tests/fuzz/corpus/TARGET/`; a file's name is how its SHA-1 begins.

RULES
* Kept is what reaches a line of ours from a line from which no kept one does: first come the seeds, which
  are made anew each time and stored nowhere, then the shortest.
* `mended-…` once broke the rule. It is kept for ever, by a name that says what was mended.
* At most `MOST` a target: the corpus is replayed in every test run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from hashlib import sha1
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, TypeAlias

from tests.fuzz.rule import Target, hold

import mpclient
import mpserve
import mpshared

__all__ = ["CORPUS", "CRASHES", "MENDED", "MOST", "choose", "kept", "name_of", "write"]

CORPUS: Final = Path(__file__).parent / "corpus"
CRASHES: Final = Path(__file__).parent / "crashes"
MENDED: Final = "mended-"
MOST: Final = 80

Arc: TypeAlias = tuple[CodeType, int, int]
"""From one line of a function to another."""

_OURS: Final = tuple(str(Path(str(package.__file__)).parent) for package in (mpclient, mpserve, mpshared))


def name_of(data: bytes) -> str:
    """Return what a file with this input is called."""
    return sha1(data, usedforsecurity=False).hexdigest()[:16]


def kept(target: Target) -> dict[str, bytes]:
    """Return the inputs that are kept for a target, by their names."""
    folder = CORPUS / target.name
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.is_dir() else {}


def choose(target: Target, inputs: Iterable[bytes]) -> list[bytes]:
    """Return the inputs that reach something which seeds, mended ones and shorter ones do not."""
    reached: set[Arc] = set()
    for data in (*target.seeds(), *_mended(target)):
        reached |= _arcs_if_kept(target, data)
    chosen = []
    for data in sorted({*inputs}, key=lambda data: (len(data), data)):
        arcs = _arcs_if_kept(target, data)
        if not arcs <= reached:
            reached |= arcs
            chosen.append(data)
    return chosen[:MOST]


def _mended(target: Target) -> Iterator[bytes]:
    return (data for name, data in kept(target).items() if name.startswith(MENDED))


def write(target: Target, inputs: Iterable[bytes]) -> int:
    """Keep these inputs and the mended ones, and no others; return how many there are."""
    folder = CORPUS / target.name
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {name_of(data): data for data in inputs}
    for name in kept(target):
        if name not in wanted and not name.startswith(MENDED):
            (folder / name).unlink()
    for name, data in wanted.items():
        (folder / name).write_bytes(data)
    return len(kept(target))


def _arcs_if_kept(target: Target, data: bytes) -> set[Arc]:
    """Return nothing for an input that breaks the rule: it is no use to anybody before that is mended."""
    try:
        return _arcs(target, data)
    except BaseException as err:
        if isinstance(err, KeyboardInterrupt):
            raise
        return set()


def _arcs(target: Target, data: bytes) -> set[Arc]:
    """Return which lines of ours followed which ones while the target used the input."""
    arcs: set[Arc] = set()

    def begin(frame: FrameType, _event: str, _arg: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(_OURS):
            return None
        last = 0

        def line(frame: FrameType, event: str, _arg: Any) -> Any:
            nonlocal last
            if event == "line":
                arcs.add((code, last, frame.f_lineno))
                last = frame.f_lineno
            return line

        return line

    sys.settrace(begin)
    try:
        hold(target, data)
    finally:
        sys.settrace(None)
    return arcs
