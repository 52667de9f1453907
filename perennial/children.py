"""What the checks and benchmarks of this project give to the processes that they start."""

from __future__ import annotations

import os

# Make hands its own variables on to whatever it starts, and they would name the shop.
SETTINGS = ("PERENNIAL_", "DBT_", "MAKE")


def clean_environment(**more: object) -> dict[str, str]:
    """Return this process's environment without anybody's settings of shop, warehouse or dbt.

    Args:
        more: variables to set instead.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    # Colours would stand between the words that somebody looks for.
    fixed = {"NO_COLOR": "1", "DBT_USE_COLORS": "false", "DBT_SEND_ANONYMOUS_USAGE_STATS": "0"}
    return kept | fixed | {name: str(value) for name, value in more.items()}
