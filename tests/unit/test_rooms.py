"""The lists of rooms in pyproject.toml are complete, and the sides do not know each other."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES = {"server/mpserve": "mpclient", "client/mpclient": "mpserve"}


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


def test_the_top_folders_are_no_packages():
    for folder in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        assert not (ROOT / folder).parent.joinpath("__init__.py").exists()
        assert (ROOT / folder / "py.typed").exists()
