"""docs/raw_contract.md, from the contract itself: `python -m perennial.contract_page`."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
CONTRACT = ROOT / "models" / "staging" / "_raw.yml"
PAGE = ROOT / "docs" / "raw_contract.md"

OPENING = """\
# The raw contract

What a shop hands over. Columns in brackets may be absent or null. Timestamps are UTC (text with
an offset such as `+02:00` is understood), amounts are in the order's currency unless said
otherwise, extra columns are ignored. Generated from
[`models/staging/_raw.yml`](../models/staging/_raw.yml), which has the meaning of every column
and the rules that refuse a row; a test holds the two equal.

| table | one row per | columns |
|---|---|---|
"""


def render(contract: dict) -> str:
    """Return the page for a parsed models/staging/_raw.yml."""
    page = OPENING
    for table in contract["sources"][0]["tables"]:
        columns = [
            column["name"]
            if column.get("config", {}).get("meta", {}).get("required")
            else f"[{column['name']}]"
            for column in table["columns"]
        ]
        required = " (required)" if table["config"]["meta"]["required"] else ""
        grain = table["description"].removeprefix("One row per ").rstrip(".")
        page += f"| {table['name']}{required} | {grain} | {', '.join(columns)} |\n"
    return page


if __name__ == "__main__":
    PAGE.write_text(render(yaml.safe_load(CONTRACT.read_text("utf-8"))), "utf-8")
