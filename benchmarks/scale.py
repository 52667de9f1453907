"""What builds cost as a shop grows: time, memory and bytes of every model.

For each size a clean shop is simulated; its warehouse is built from nothing, built again
without the newest orders, and then brought up to date. Beside it, on the same files, the
core marts are made in hand-written Polars, and DuckDB reads the files and writes the marts
and does nothing else. Prints what it found; --json, --svg and --markdown keep it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from scaling.children import say
from scaling.figures import (
    dearest,
    section,
    slope_line,
    slopes,
    summary,
)
from scaling.measuring import check_machine, machine, measure, today
from scaling.picture import check_picture, draw
from tables import check_page, replace_section

from perennial.errors import UserError

SHARE = 0.001


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    try:
        check_outputs(args)
        if args.results:
            results = read_results(args.results)
            tell(results, args)
        else:
            with tempfile.TemporaryDirectory(prefix="perennial-scale-") as scratch:
                results = measure_all(args, Path(args.folder or scratch).absolute())
    except UserError as error:
        print(f"benchmarks/scale.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nbenchmarks/scale.py: stopped", file=sys.stderr)
        return 130
    return int(any(size["differing"] for size in results["sizes"]))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--orders",
        nargs="+",
        type=orders,
        metavar="N",
        help="about how many orders each shop has, such as 100000 or 1e6",
    )
    what.add_argument(
        "--results", type=Path, metavar="FILE", help="measure nothing; tell of an earlier --json"
    )
    add(
        "--share",
        type=share,
        default=SHARE,
        metavar="S",
        help="share of the orders that come in the increment (default: %(default)s)",
    )
    add("--folder", metavar="DIR", help="keep shops and warehouses here, and use them again")
    add("--json", type=Path, metavar="FILE", help="write all that was measured")
    add("--svg", type=Path, metavar="FILE", help="draw it, as svg or png")
    add(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="replace what stands in this page between the marks of the section Scale",
    )
    return parser.parse_args(argv)


def orders(text: str) -> int:
    """A number of orders."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 1000 <= number <= 1e8 or number != int(number):
        raise argparse.ArgumentTypeError(
            f"{text} is no number of orders; give a whole one from 1,000 to 1e8"
        )
    return int(number)


def share(text: str) -> float:
    """A share of the orders."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number <= 0.5:
        raise argparse.ArgumentTypeError(f"{text} is no share; give a number above 0, 0.5 at most")
    return number


def check_outputs(args: argparse.Namespace) -> None:
    """Stop before hours of work when their results could not be written."""
    if args.svg:
        check_picture(args.svg)
    if args.markdown:
        check_page(args.markdown, "scale")
    for file in (args.json, args.svg):
        if file and not file.absolute().parent.is_dir():
            raise UserError(
                f"there is no folder {file.absolute().parent} for {file.name}; make it."
            )


def measure_all(args: argparse.Namespace, folder: Path) -> dict:
    """Measure one size after the other, the smallest first; tell of them after each."""
    check_machine(args.orders, folder)
    results = {"measured_on": today(), "machine": machine(), "sizes": [], "slopes": {}}
    for n_orders in sorted(set(args.orders)):
        results["sizes"].append(measure(n_orders, args.share, folder))
        results["slopes"] = slopes(results["sizes"])
        tell(results, args)
    return results


def read_results(file: Path) -> dict:
    """What an earlier run has written."""
    try:
        results = json.loads(file.read_text("utf-8"))
        if not results["sizes"]:
            raise KeyError("sizes")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is no file that --json has written ({error}).") from error
    return results


def tell(results: dict, args: argparse.Namespace) -> None:
    """Print the tables, and write what was asked for."""
    parts = [summary(results), dearest(results, None), *slope_line(results)]
    print("\n" + "\n\n".join(parts) + "\n", flush=True)
    for size in results["sizes"]:
        if size["differing"]:
            say(
                f"At {size['orders']:,} orders increment and rebuild differ in "
                f"{', '.join(size['differing'])}: what they took cannot be compared."
            )
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    if args.svg:
        draw(results, args.svg)
    if args.markdown:
        picture = args.svg and os.path.relpath(args.svg, args.markdown.parent)
        replace_section(args.markdown, "scale", section(results, picture))


if __name__ == "__main__":
    sys.exit(main())
