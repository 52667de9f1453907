"""The report: one self-contained page that says how a shop keeps its customers.

`queries` reads the marts, `charts` draws them, `page` puts the page together. The same
warehouse gives the same bytes: nothing here asks the clock.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from perennial.errors import UserError
from perennial.report.page import render_page
from perennial.report.queries import open_warehouse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `perennial report` takes."""
    parser.add_argument(
        "--warehouse",
        type=Path,
        required=True,
        metavar="FILE.duckdb",
        help="the built warehouse to read; it is opened read-only",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("report/index.html"),
        metavar="FILE.html",
        help="the page to write (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    print(f"Report written to {write_report(args.warehouse, args.out)}")
    return 0


def write_report(warehouse: Path, out: Path) -> Path:
    """Write the report on `warehouse` to `out` and return `out`.

    The page replaces an older one in a single step, so that a reader never sees half of it.
    """
    warehouse, out = Path(warehouse), Path(out)
    if out.is_dir():
        raise UserError(f"{out} is a folder; name the file to write, such as {out / 'index.html'}.")
    if out.exists() and warehouse.exists() and out.samefile(warehouse):
        raise UserError(f"{out} is the warehouse itself; choose another file for the page.")
    with open_warehouse(warehouse) as marts:
        page = render_page(marts, warehouse.name)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _replace(out, page.encode())
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({error.strerror or error}); choose another place."
        ) from error
    return out


def _replace(path: Path, content: bytes) -> None:
    """Write `content` beside `path` and swap it in."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # mkstemp makes a private file; a page is as readable as any other new file.
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o666 & ~umask)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
