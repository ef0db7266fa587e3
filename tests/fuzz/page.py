"""The figures of runs, in `docs/explanation/fuzzing.md`: a row for each target.

Its inputs are added up, over all runs that were told to `--write`; the other figures are the last one's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.fuzz.driver import Outcome
from tests.fuzz.targets import TARGETS

__all__ = ["PAGE", "names", "write"]

PAGE: Final = Path(__file__).parents[2] / "docs/explanation/fuzzing.md"
_BEGIN, _END = "<!-- figures: scripts/fuzz --write -->\n", "<!-- end of figures -->\n"
_ROW: Final = re.compile(r"\| `([a-z-]+)` \| (.*?) \| *([\d,]+) \| *([\d,]+) \| *([\d,]+) \| *([\d,]+) \|")
_HEAD: Final = (
    "| target | what reads the bytes, and what is held against it | inputs | a second | branches | kept |",
    "| --- | --- | ---: | ---: | ---: | ---: |",
)


def names() -> list[str]:
    """Return the targets that the page names."""
    return [match[1] for match in _ROW.finditer(PAGE.read_text(encoding="utf-8"))]


def write(outcomes: Iterable[Outcome]) -> None:
    """Put the rows of these targets into the page, and the sum of all."""
    text = PAGE.read_text(encoding="utf-8")
    figures = {match[1]: match.groups()[2:] for match in _ROW.finditer(text)}
    for outcome in outcomes:
        so_far = int(figures.get(outcome.target.name, ("0",))[0].replace(",", ""))
        numbers = (so_far + outcome.runs, outcome.rate, outcome.reached, outcome.kept)
        figures[outcome.target.name] = tuple([f"{number:,}" for number in numbers])
    rows = [
        f"| `{target.name}` | {target.about} | {' | '.join(figures.get(target.name, ('0',) * 4))} |"
        for target in TARGETS
    ]
    total = sum(int(row[0].replace(",", "")) for row in figures.values())
    table = "\n".join((*_HEAD, *rows, "", f"Together {total:,} inputs.", ""))
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    PAGE.write_text(f"{before}{_BEGIN}\n{table}\n{_END}{after}", encoding="utf-8")
