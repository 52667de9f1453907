"""The packages that were tried are those that pyproject.toml asks for; bounds cannot drift off."""

from __future__ import annotations

import tomllib

import pytest
import yaml
from conftest import PROJECT
from packaging.requirements import Requirement


def pinned(file: str) -> dict[str, str]:
    """The exact versions in a requirements file, by name."""
    pins = {}
    for line in (PROJECT / file).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "-")):
            requirement = Requirement(line)
            [pin] = requirement.specifier
            assert pin.operator == "==", line
            pins[requirement.name.lower()] = pin.version
    return pins


@pytest.fixture(scope="module")
def bounds() -> dict[str, Requirement]:
    text = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    required = map(Requirement, tomllib.loads(text)["project"]["dependencies"])
    return {requirement.name: requirement for requirement in required}


def lowest(requirement: Requirement) -> str:
    [bound] = [part.version for part in requirement.specifier if part.operator == ">="]
    return bound


def test_the_low_pins_are_the_lower_bounds(bounds):
    assert pinned("requirements-low.txt") == {
        name: lowest(requirement) for name, requirement in bounds.items()
    }


def test_the_pins_lie_within_the_bounds(bounds):
    pins = pinned("requirements.txt")
    outside = [name for name in bounds if not bounds[name].specifier.contains(pins[name])]
    assert outside == []


@pytest.mark.parametrize("file", ["dbt_project.yml", "integration_tests/dbt_project.yml"])
def test_dbt_is_asked_for_within_the_same_bounds(bounds, file):
    asked = yaml.safe_load((PROJECT / file).read_text(encoding="utf-8"))["require-dbt-version"]
    # dbt wants all three numbers.
    assert {bound.replace("<1.12.0", "<1.12") for bound in asked} == {
        str(part) for part in bounds["dbt-core"].specifier
    }
