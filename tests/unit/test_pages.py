"""What the pages say: figures are the report's, links lead somewhere, named errors can be imported, and each
file is on the map.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import mpclient
from mpshared import errors

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
REPORT = (ROOT / "docs" / "explanation" / "performance.md").read_text("utf-8")


def _row(text: str, begins: str) -> list[str]:
    """Return the cells of the first row of a table that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {begins}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def _measured() -> dict[str, float]:
    """Return by which factor small jobs are faster than in each of the others, as the report says."""
    imap, futures = _row(REPORT, "`imap_unordered`, chunks of 1"), _row(REPORT, "`executor().submit` each")
    small = _row(REPORT, "small jobs, one message each")
    found = {"the standard library's recipe": imap[5], "`multiprocessing.Pool`": imap[4]}
    found |= {"`ProcessPoolExecutor`": futures[4], "lists in Redis": small[4]}
    found |= {"Celery": small[6], "RQ": small[8], "Dramatiq": small[10], "Dask": small[12], "Ray": small[14]}
    return {name: float(cell.strip("*").replace(",", "")) for name, cell in found.items()}


@pytest.mark.parametrize(("name", "measured"), _measured().items())
def test_the_readme_claims_no_more_than_was_measured(name, measured):
    names, factors = _row(README, "RQ; Dramatiq" if name in {"RQ", "Dramatiq"} else name)[:2]
    claimed = dict(zip(names.split("; "), factors.split("; "), strict=True))
    factor = next(float(factor) for said, factor in claimed.items() if said.startswith(name))
    assert factor <= measured, "README.md: take it from docs/explanation/performance.md"


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_what_is_there(page):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_who_reads_of_an_error_can_import_it():
    told = "".join(page.read_text("utf-8") for page in PAGES)
    named = {name for name in errors.__all__ if f"`{name}`" in told}
    assert named - set(mpclient.__all__) == set()


FILES = sorted(
    file
    for room in ("server", "client", "shared")
    for file in (ROOT / room).rglob("[!_]*.py")
    if not file.name.startswith("t_")
)


def test_each_file_is_on_the_map():
    internals = (ROOT / "docs" / "explanation" / "internals.md").read_text("utf-8")
    lost = [file for file in FILES if not re.search(rf"\b{file.stem}\b", internals + _maps_of(file.parent))]
    assert lost == [], "say what it is in the __init__ of its room"


@cache
def _maps_of(room: Path) -> str:
    """Return what the packages around a folder say of their files, and the kinds in it of their parts."""
    around = [place / "__init__.py" for place in (room, *room.parents) if (place / "__init__.py").exists()]
    sources = [place.read_text("utf-8") for place in (*around, *room.glob("t_*.py"))]
    return "".join(ast.get_docstring(ast.parse(source)) or "" for source in sources)
