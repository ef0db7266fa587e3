"""The account at the end: what must be true of everybody's notes.

| what        | must be                                                                                  |
|-------------|------------------------------------------------------------------------------------------|
| jobs        | one result for each that was acknowledged, never two, none that nobody asked for         |
| the counter | no number came back twice; it stands between what was acknowledged and what was tried    |
| the lock    | no fence twice; who was never stopped or killed shared it with nobody                    |
| everybody   | ended by itself, well                                                                    |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

__all__ = ["Account", "settle"]


@dataclass
class Account:
    """What was found."""

    figures: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def check(self, good: bool, text: str) -> None:
        """Note what is wrong."""
        if not good:
            self.wrong.append(text)


def settle(folder: Path, results: Iterable[str], counter: int, disturbed: set[int]) -> Account:
    """Compare the notes with what the server gave.

    Args:
        folder: The notes.
        results: Every result that was got, in any order.
        counter: Where the counter stands.
        disturbed: Process ids of programs that were killed or stopped.
    """
    account = Account()
    _jobs(account, folder, Counter(results))
    _counts(account, folder, counter)
    _locks(account, folder, disturbed)
    for role in ("meeter", "waiter"):
        account.figures[f"{role}s' rounds"] = sum(1 for _ in _lines(folder, role))
    return account


def _lines(folder: Path, role: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (process id, words) for each whole line of a role's programs."""
    for path in sorted(folder.glob(f"{role}-*.txt")):
        pid = int(path.stem.partition("-")[2])
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                yield pid, line.split()


def _jobs(account: Account, folder: Path, results: Counter[str]) -> None:
    tried, done = set[str](), set[str]()
    for _, (word, *names) in _lines(folder, "producer"):
        if word in {"try", "done"}:
            (tried if word == "try" else done).update(names)
    lost = done - results.keys()
    twice = {name: n for name, n in results.items() if n > 1}
    account.check(not lost, f"{len(lost)} acknowledged jobs have no result: {sorted(lost)[:5]}")
    account.check(not twice, f"{len(twice)} jobs have several results: {list(twice.items())[:5]}")
    account.check(results.keys() <= tried, f"results of nobody's: {sorted(results.keys() - tried)[:5]}")
    account.figures |= {
        "jobs acknowledged": len(done),
        "jobs in doubt": len(tried - done),
        "results": len(results),
    }


def _counts(account: Account, folder: Path, counter: int) -> None:
    came: list[int] = []
    tries = 0
    for _, (word, *numbers) in _lines(folder, "counter"):
        tries += word == "try"
        if word == "done":
            came.append(int(numbers[0]))
    twice = [n for n, times in Counter(came).items() if times > 1]
    account.check(not twice, f"numbers of the counter that came back twice: {twice[:5]}")
    account.check(
        len(came) <= counter <= tries, f"the counter stands at {counter}, {len(came)} to {tries} were counted"
    )
    account.figures |= {"increments acknowledged": len(came), "increments in doubt": tries - len(came)}


def _locks(account: Account, folder: Path, disturbed: set[int]) -> None:
    fences: Counter[int] = Counter()
    spans: list[tuple[int, int, int]] = []
    entered: dict[int, tuple[int, int]] = {}
    for pid, (word, *numbers) in _lines(folder, "locker"):
        if word == "enter":
            fence, at_ns = map(int, numbers)
            fences[fence] += 1
            entered[pid] = fence, at_ns
        elif word == "exit" and pid in entered and pid not in disturbed:
            spans.append((entered[pid][1], int(numbers[1]), pid))
    twice = [fence for fence, n in fences.items() if n > 1]
    account.check(not twice, f"fences that were given twice: {twice[:5]}")
    spans.sort()
    together = [(a, b) for a, b in pairwise(spans) if b[0] < a[1]]
    account.check(not together, f"{len(together)} pairs had the lock at the same time: {together[:3]}")
    account.figures |= {"times the lock was held": len(fences)}
