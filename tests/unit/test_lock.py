"""The lock files of the image fit the ranges of pyproject.toml, on every Python that it may be made with."""

import re
import tomllib
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
RANGES = {
    "requirements.lock": PROJECT["project"]["dependencies"],
    "requirements-build.lock": PROJECT["build-system"]["requires"],
}

both = pytest.mark.parametrize("lock", RANGES)


def locked(lock):
    """Return each entry of a lock file: its requirement, and the hashes of its files."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / lock).read_text())
    for line in text.splitlines():
        if line and not line.lstrip().startswith("#"):
            requirement, *hashes = line.split(" --hash=")
            yield Requirement(requirement), [each.strip() for each in hashes]


def environment(python):
    return {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}


def versions(lock, python):
    """Return what would be installed, by name."""
    found: dict[str, list[str]] = {}
    for requirement, _ in locked(lock):
        if requirement.marker is None or requirement.marker.evaluate(environment(python)):
            (pin,) = requirement.specifier
            assert pin.operator == "==", requirement
            found.setdefault(canonicalize_name(requirement.name), []).append(pin.version)
    return found


@both
@pytest.mark.parametrize("python", PYTHONS)
def test_every_range_holds_the_one_version_that_is_locked(lock, python):
    found = versions(lock, python)
    assert all(len(each) == 1 for each in found.values()), found
    for text in RANGES[lock]:
        requirement = Requirement(text)
        [version] = found[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{text}, locked is {version}: run scripts/lock"


@both
def test_what_is_locked_needs_nothing_that_is_not(lock):
    """As far as the locked versions are installed here, and tell what they need."""
    pins = {
        canonicalize_name(requirement.name): str(requirement.specifier) for requirement, _ in locked(lock)
    }
    for name, pin in pins.items():
        with suppress(metadata.PackageNotFoundError):
            needs = metadata.requires(name) if pin == f"=={metadata.version(name)}" else ()
            for need in map(Requirement, needs or ()):
                asked = need.marker is None or need.marker.evaluate({"extra": ""})
                assert not asked or canonicalize_name(need.name) in pins, (
                    f"{name} needs {need}: run scripts/lock"
                )


@both
def test_every_file_is_known_by_its_hash_and_none_by_where_it_comes_from(lock):
    for requirement, hashes in locked(lock):
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), requirement
    assert "://" not in (ROOT / lock).read_text()


def test_every_range_has_two_ends():
    groups = PROJECT["dependency-groups"].values()
    for text in (
        *RANGES["requirements.lock"],
        *RANGES["requirements-build.lock"],
        *(t for g in groups for t in g),
    ):
        operators = sorted(pin.operator for pin in Requirement(text).specifier)
        assert operators == ["<", ">="], text
