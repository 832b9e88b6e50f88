"""What pyproject.toml asks for is what the tests were run with, and all of it is pinned."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from projects import REPOSITORY

NEVER_RUN = {"gcsfs", "cuml-cu13"}
"""They need an account or a GPU of a kind that nobody had; constraints.txt does not know them."""

LISTS = ("constraints.txt", "constraints-gpu.txt")


def pins(name: str) -> dict[str, Version]:
    lines = (REPOSITORY / name).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(package): Version(version) for package, version in pairs}


def requirements() -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    said = [*project["dependencies"], *(text for extra in extras for text in extra)]
    return [Requirement(text) for text in said]


@pytest.mark.parametrize("name", LISTS)
def test_constraints_are_names_and_versions_alone(name):
    """A mirror, off-line or comparing digests, can serve them: no address, no local build."""
    for line in (REPOSITORY / name).read_text(encoding="utf-8").splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==\d+(\.\d+)*(\.post\d+)?", line), line


def test_what_is_asked_for_is_what_the_tests_were_run_with():
    pinned = [pins(name) for name in LISTS]
    for asked in requirements():
        package = canonicalize_name(asked.name)
        if package in NEVER_RUN:
            continue
        versions = [known[package] for known in pinned if package in known]
        assert package in pinned[0], f"{package} is not in {LISTS[0]}"
        assert all(version in asked.specifier for version in versions), asked
        (bound,) = [part.version for part in asked.specifier if part.operator == ">="]
        places = bound.count(".") + 1
        assert Version(bound).release == min(versions).release[:places], asked
        assert places >= 2, asked
