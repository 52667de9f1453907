"""The settings that there are, as the macro settings_catalogue() has them, and their way to dbt."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import jinja2
import yaml

from perennial.errors import UserError

CATALOGUE = "macros/input/settings.sql"


def read_catalogue(project: Path) -> dict[str, dict]:
    """Return every setting's type, default and limits by its name."""
    found: list[dict] = []
    environment = jinja2.Environment(extensions=["jinja2.ext.do"])
    template = environment.from_string((project / CATALOGUE).read_text("utf-8"))
    template.make_module({"return": found.append}).settings_catalogue()
    return found[0]


def as_environment(settings: dict, project: Path) -> tuple[dict[str, str], dict]:
    """Return settings as variables of the environment, and those that must be dbt's vars.

    dbt reads the whole project anew, which takes seconds, where a var has another value than the
    last time; a variable of the environment costs the models that ask for it. A var of
    dbt_project.yml comes before the environment, so that only a var can stand for it. UserError
    for a setting that there is not: dbt would pass it over without a word.
    """
    of_project = yaml.safe_load((project / "dbt_project.yml").read_text("utf-8")).get("vars") or {}
    of_project |= of_project.get("perennial") or {}
    catalogue = read_catalogue(project)
    environment, more = {}, {}
    for name, value in settings.items():
        if name in of_project:
            more[name] = value
        elif name not in catalogue:
            near = difflib.get_close_matches(name, catalogue, 1)
            raise UserError(
                f"there is no setting {name!r}{f'; did you mean {near[0]!r}?' if near else '.'} "
                "docs/settings.md lists them."
            )
        elif value is not None:
            variable = catalogue[name].get("env", f"PERENNIAL_{name.upper()}")
            environment[variable] = value if isinstance(value, str) else json.dumps(value)
    return environment, more
