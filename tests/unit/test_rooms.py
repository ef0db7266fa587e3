"""The lists of rooms in pyproject.toml are complete, and the sides do not know each other."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES = {"server/mpserve": "mpclient", "client/mpclient": "mpserve"}
CLIENT = ["values output", "transport", "session", "objects", "pooling", "", "aio worker testing"]
"""The client's rooms from below; in the place of the empty one is what programs import."""
WORKER = ["", "jobs", "process", "newborn", "nursery host", "working", "commands", "cli"]
"""The same of a worker host; in the empty one is what several of its processes share."""


def test_every_kind_is_in_the_contracts():
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    listed = " ".join(layer for contract in contracts for layer in contract.get("layers", ()))
    kinds = {path.stem for path in (ROOT / "server/mpserve/core").glob("t_*.py")}
    assert {kind for kind in kinds if f"({kind})" not in listed} == set()


@pytest.mark.parametrize(("folder", "other"), PACKAGES.items())
def test_a_side_never_names_the_other_one_in_an_import(folder, other):
    """Also not inside functions or under TYPE_CHECKING, where an import graph may not look."""
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            assert not [name for name in names if name.split(".")[0] == other], f"{path}:{node.lineno}"


@pytest.mark.parametrize(("package", "rooms"), [("mpclient", CLIENT), ("mpclient.worker", WORKER)])
def test_loading_a_file_of_the_client_loads_nothing_that_is_above_it(package, rooms):
    heights = {room: height for height, layer in enumerate(rooms) for room in layer.split() or [""]}
    modules = dict(_modules(ROOT / "client", package))

    def height(module):
        return heights.get(module.removeprefix(f"{package}.").split(".")[0], heights[""])

    for module, path in modules.items():
        loaded = {name for name in _loaded(path) if name in modules}
        assert not [name for name in loaded if height(name) > height(module)], module


def _modules(folder, package):
    for path in folder.joinpath(*package.split(".")).rglob("*.py"):
        if path.name not in {"__init__.py", "__main__.py"}:
            yield ".".join(path.relative_to(folder).with_suffix("").parts), path


def _loaded(path):
    """Whatever is imported while the module itself is being imported."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_the_top_folders_are_no_packages():
    for folder in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        assert not (ROOT / folder).parent.joinpath("__init__.py").exists()
        assert (ROOT / folder / "py.typed").exists()
