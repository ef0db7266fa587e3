"""The same steps against `multiprocessing` and against us, compared one by one.

    @case("multiprocessing.Event()", of="synchronize.Event")
    def event(side):
        event = side.mp.Event()
        yield "is_set()", event.is_set
        yield "wait(0.01)", lambda: event.wait(0.01)

RULES
* A step is a label and something to call. It is called where the function yields it; what it returns or
  raises is its outcome. The label begins with the member that is tried, up to a bracket, a space or a dot.
* Values must be equal and of the same type. An exception must be an instance of what the standard library
  raised; its text may be another one, and the page shows both.
* Any other difference is declared with its reason: `differs`, by label, or `refused` where we raise on
  purpose. A difference that is not declared fails, and so does a declaration without a difference.
* What a case compares is one part of docs/reference/compatibility.md (`render`). The outcomes there are those
  of `PAGE_PYTHON`; other versions of the standard library have other texts.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CASES", "NEWER", "PAGE_PYTHON", "Case", "Result", "Side", "assigned", "case", "compare", "render"]

PAGE_PYTHON = (3, 11)
"""The Python whose standard library the page compares with."""

NEWER = "Python 3.14"
"""In place of a reason: what differs is there because the standard library has it from this version on."""

Steps = Iterator[tuple[str, Callable[[], Any]]]


@dataclass
class Side:
    """One of the two: where its names are."""

    name: str
    mp: Any
    """A context for the start method "spawn"."""
    modules: Mapping[str, Any]
    """By name, "" for the package itself."""
    manager: Any = None
    """A started SyncManager."""

    @property
    def is_ours(self) -> bool:
        return self.name == "mpserve"

    def find(self, path: str) -> Any:
        """Return what a path like "pool.Pool" or "Process" names."""
        module, _, name = path.rpartition(".")
        return getattr(self.modules[module], name)


@dataclass
class Outcome:
    """What one step did on one side."""

    value: Any = None
    error: BaseException | None = None

    def __str__(self) -> str:
        if self.error is None:
            return _short(repr(self.value))
        return f"{type(self.error).__name__}({_short(str(self.error))})"


@dataclass
class Row:
    """One step, compared."""

    label: str
    theirs: Outcome
    ours: Outcome
    verdict: str
    """same, text, differs, refused, newer"""
    why: str = ""

    @property
    def member(self) -> str:
        """The member that the step tries, "" for the thing itself."""
        return re.split(r"[ (.,\[]", self.label, maxsplit=1)[0]


@dataclass
class Case:
    """Steps about one thing."""

    title: str
    steps: Callable[[Side], Steps]
    of: str = ""
    """The class whose public members are all to be tried or noted: a path in a `Side`."""
    differs: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    """Members that no step tries: what there is to say of them."""
    needs: tuple[int, int] = (3, 11)
    """The first Python whose standard library has it."""

    @property
    def name(self) -> str:
        return self.title


CASES: list[Case] = []


def case(title: str, **more: Any) -> Callable[[Callable[[Side], Steps]], Callable[[Side], Steps]]:
    """Add a case; see `Case` for what can be given."""

    def add(steps: Callable[[Side], Steps]) -> Callable[[Side], Steps]:
        CASES.append(Case(title, steps, **more))
        return steps

    return add


def assigned(thing: Any, attribute: str, value: Any) -> Any:
    """Assign to an attribute; return what it is then."""
    setattr(thing, attribute, value)
    return getattr(thing, attribute)


# -- running --------------------------------------------------------------------------------------


def run(steps: Steps) -> dict[str, Outcome]:
    """Take all steps; return their outcomes by label."""
    outcomes: dict[str, Outcome] = {}
    for label, call in steps:
        assert label not in outcomes, f"two steps are called {label}"
        try:
            outcomes[label] = Outcome(call())
        except Exception as err:
            outcomes[label] = Outcome(error=err.with_traceback(None))  # or its frames are kept, too
    return outcomes


@dataclass
class Result:
    """One case, compared."""

    case: Case
    rows: list[Row]

    def complaints(self) -> list[str]:
        """Return what is not as it was declared."""
        odd = [row for row in self.rows if row.verdict in {"differs", "refused"} and not row.why]
        return [f"{row.label}: {row.theirs} / {row.ours}" for row in odd]

    def stale(self) -> list[str]:
        """Return declarations without a difference; other Pythons may have fewer than that of the page."""
        if sys.version_info[:2] != PAGE_PYTHON:
            return []
        labels = {row.label for row in self.rows if row.verdict in {"differs", "refused", "newer"}}
        return sorted((set(self.case.differs) | set(self.case.refused)) - labels)

    def members(self) -> list[str]:
        """Return the members that were tried, in order."""
        return list(dict.fromkeys(row.member for row in self.rows))

    def told(self) -> set[str]:
        """Return the members that were tried or noted."""
        return {*self.members(), *(word for note in self.case.notes for word in re.findall(r"\w+", note))}


def compare(one: Case, theirs: Side, ours: Side) -> Result:
    """Run a case on both sides."""
    left, right = run(one.steps(theirs)), run(one.steps(ours))
    assert list(left) == list(right), "the steps are not the same"
    return Result(one, [_row(one, label, left[label], right[label]) for label in left])


def _row(one: Case, label: str, theirs: Outcome, ours: Outcome) -> Row:
    verdict = _verdict(theirs, ours)
    if verdict != "differs":
        return Row(label, theirs, ours, verdict)
    if label in one.refused:
        assert ours.error is not None, f"{label} is not refused: {ours}"
        return Row(label, theirs, ours, "refused", one.refused[label])
    why = one.differs.get(label, "")
    return Row(label, theirs, ours, "newer" if why == NEWER else "differs", why)


def _verdict(theirs: Outcome, ours: Outcome) -> str:
    if theirs.error is None or ours.error is None:
        equal = theirs.error is ours.error and type(theirs.value) is type(ours.value)
        return "same" if equal and theirs.value == ours.value else "differs"
    if not isinstance(ours.error, type(theirs.error)):
        return "differs"
    return "same" if _plain(str(theirs.error)) == _plain(str(ours.error)) else "text"


# -- the page -------------------------------------------------------------------------------------


def render(result: Result) -> str:
    """Return a case's part of the page."""
    lines = [_line(result, member) for member in result.members()]
    lines += [f"| {_code(members)} | | {note} |" for members, note in result.case.notes.items()]
    return "\n".join([f"### {result.case.title}", "", "| name | | |", "| --- | --- | --- |", *lines, ""])


def _code(members: str) -> str:
    """Return a list of members with each of them as code."""
    return ", ".join(f"`{member}`" for member in members.split(", "))


def _line(result: Result, member: str) -> str:
    rows = [row for row in result.rows if row.member == member]
    odd = [row for row in rows if row.verdict != "same"]
    alike: dict[str, list[str]] = {}
    for row in odd:
        if row.verdict == "newer" and len(odd) == len(rows):
            continue  # all is said by the word
        alike.setdefault(_told(row), []).append(f"`{row.label}`".replace("|", "\\|"))
    told = "; ".join(f"{', '.join(labels)}: {what}" for what, labels in alike.items())
    return f"| `{_WITH.get(member, member)}` | {_counted(rows, odd)} | {told} |"


_WITH = {"__enter__": "with", "__exit__": "with, at its end"}
_WORDS = {"refused": "refused", "differs": "differs", "text": "other text", "newer": "newer"}


def _counted(rows: list[Row], odd: list[Row]) -> str:
    """Return the verdict on a member: "same (7)", "differs (1)", "of 9: 2 other text, 1 refused"."""
    counts = {word: sum(row.verdict == verdict for row in odd) for verdict, word in _WORDS.items()}
    found = {word: n for word, n in counts.items() if n}
    if len(found) == 1 and len(odd) == len(rows):
        return f"{next(iter(found))} ({len(rows)})"
    return (
        f"of {len(rows)}: " + ", ".join(f"{n} {word}" for word, n in found.items())
        if found
        else f"same ({len(rows)})"
    )


def _told(row: Row) -> str:
    if row.verdict != "text":
        return row.why
    ours, theirs = _plain(str(row.ours.error)), _plain(str(row.theirs.error))
    start = 0
    if _short(ours) == _short(theirs):  # what differs comes later
        start = next(at for at, pair in enumerate(zip(ours, theirs, strict=False)) if len(set(pair)) > 1) - 20
    return f"{_quoted(ours[start:])}, not {_quoted(theirs[start:])}"


def _quoted(text: str) -> str:
    return f"“{_short(text)}”".replace("|", "\\|") if text else "no text"


def _plain(text: str) -> str:
    """Return a text on one line, without what is another one each time."""
    text = re.sub(r"unix:/\S*|\b\d+\.\d+\.\d+\.\d+:\d+", "…", " ".join(text.split()))
    return re.sub(r"\b[0-9a-f]{16,}\b|0x[0-9a-f]+", "…", text)


def _short(text: str) -> str:
    text = _plain(text)
    return text if len(text) <= 110 else text[:109] + "…"
