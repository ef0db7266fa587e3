"""Turn results into the report, and put it into the documentation.

Rules:
- Sections come in the order of `SECTIONS`; the targets, over all of them, come last.
- What failed is told with its reason below the tables.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from tests.bench.children import ROOT
from tests.bench.rows import Result, Section, Target
from tests.bench.sides import SIDES
from tests.bench.tables import got, line, number, told

__all__ = ["PAGE", "Results", "report", "write"]

PAGE = ROOT / "docs" / "explanation" / "performance.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
Results = Sequence[tuple[Section, Sequence[Result]]]


def report(results: Results, command: str) -> str:
    """Return all tables as Markdown."""
    parts = [
        f"    {command}",
        "",
        f"{os.cpu_count()} cores ({_processor()}), {platform.system()}, CPython {platform.python_version()};",
        "medians of interleaved rounds. A ratio is that to the standard library's server; a stock client is",
        "the standard library's client of our server.",
    ]
    for section, found in results:
        if found:
            parts += ["", f"### {section.title}", "", *section.tables(found)]
    return "\n".join([*parts, *_targets(results), *_failures(results), ""])


def _processor() -> str:
    """Return what the processor calls itself; names that say nothing have its family and model beside."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    name = facts.get("model name", platform.machine())
    numbers = [f"{key.removeprefix('cpu ')} {facts[key]}" for key in ("cpu family", "model") if key in facts]
    return ", ".join([name, *numbers])


def write(text: str, page: Path = PAGE) -> None:
    """Replace what stands between the page's two marks.

    Raises:
        ValueError: The page does not have the marks.
    """
    whole = page.read_text(encoding="utf-8")
    if BEGIN not in whole or END not in whole:
        raise ValueError(
            f"{page} has no lines {BEGIN} and {END}, so there is no place to write the figures: put them in"
        )
    head, rest = whole.split(BEGIN, 1)
    page.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")


def _targets(results: Results) -> list[str]:
    lines = [
        _target(section, result, target)
        for section, found in results
        for result in found
        for target in result.row.wanted
    ]
    heads = [
        "",
        "### Targets",
        "",
        "| section | work | side | wanted | got | held |",
        "|---|---|---|--:|--:|---|",
    ]
    return heads + lines if lines else []


def _target(section: Section, result: Result, target: Target) -> str:
    value = got(result, target)
    held = value is not None and (value <= target.limit if target.most else value >= target.limit)
    verdict = "not measured" if value is None else "yes" if held else "**no**"
    unit = "" if target.base else target.unit
    shown = number(value) + ("" if value is None else unit)
    return line([section.key, result.row.name, SIDES[target.side].title, told(target), shown, verdict])


def _failures(results: Results) -> list[str]:
    lines = [
        f"- {section.describe(result.row)}, {SIDES[key].title}: {text}"
        for section, found in results
        for result in found
        for key, text in result.failures.items()
    ]
    return ["", "Failed:", "", *lines] if lines else []
