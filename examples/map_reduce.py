"""Map and reduce on a Pool: which modules does the standard library import most?

    python examples/map_reduce.py                            this machine, server and workers included
    MPSERVE_ADDRESS=host:7707 python examples/map_reduce.py  a cluster's workers

Each job carries one file's text and returns what it imports (map); the program collects who imports each
module (partition) and a second round of jobs counts (reduce).
"""

from __future__ import annotations

import argparse
import ast
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import mpclient as multiprocessing


def imports(job: tuple[str, str]) -> list[tuple[str, str]]:
    """Map: return (imported, importer) for each module that a source file names."""
    importer, text = job
    try:
        tree = ast.parse(text)
    except SyntaxError:  # the library has files that are broken on purpose
        return []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return [(imported, importer) for imported in found]


def count(imported: str, importers: list[str]) -> tuple[int, str]:
    """Reduce: return how many different files import a module."""
    return len(set(importers)), imported


def sources(limit: int | None) -> Iterator[tuple[str, str]]:
    """Yield name and text of the standard library's source files."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py"))[:limit]:
        if not {"site-packages", "dist-packages"} & set(path.parts):
            yield str(path.relative_to(root)), path.read_text(encoding="utf-8", errors="replace")


def main() -> int:
    """Map, partition, reduce, and compare with the same done here."""
    parser = argparse.ArgumentParser(description="Count imports in the standard library on a Pool.")
    parser.add_argument("--limit", type=int, help="only so many files")
    files = list(sources(parser.parse_args().limit))
    with multiprocessing.Pool() as pool:
        partition: dict[str, list[str]] = defaultdict(list)
        for pairs in pool.imap_unordered(imports, files, chunksize=8):
            for imported, importer in pairs:
                partition[imported].append(importer)
        counts = sorted(pool.starmap(count, partition.items()), reverse=True)
    for times, module in counts[:10]:
        print(f"{times:6,}  {module}")
    alone: dict[str, set[str]] = defaultdict(set)
    for imported, importer in (pair for job in files for pair in imports(job)):
        alone[imported].add(importer)
    same = counts == sorted(((len(names), module) for module, names in alone.items()), reverse=True)
    print(f"{len(files):,} files; counted here alone: {'the same' if same else 'NOT the same'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
