"""The `perennial` command: simulate a shop, build the warehouse, publish it, forget a person."""

from __future__ import annotations

import argparse
import importlib
import sys

from perennial import __version__
from perennial.errors import UserError

# name -> (module, one-line help). A module offers add_arguments(parser) and run(args) -> int.
# They are imported when needed, so that `perennial --help` answers at once.
COMMANDS = {
    "build": ("perennial.build", "build the warehouse and the report"),
    "forget": ("perennial.forget", "remove a person everywhere, and prove it"),
    "monitor": ("perennial.monitor", "print the last builds and what is wrong with the data"),
    "publish": ("perennial.publish", "make the marts a release that readers can trust"),
    "report": ("perennial.report", "write the report page from a built warehouse"),
    "simulate": ("perennial.simulate", "write a simulated shop with its hidden truth"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit code (2 for a mistake that the user can put right)."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="perennial", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = next((word for word in argv if word in COMMANDS), "")
    try:
        for name, (module, summary) in COMMANDS.items():
            subparser = subparsers.add_parser(name, help=summary, description=summary)
            if name == command:
                importlib.import_module(module).add_arguments(subparser)
        args = parser.parse_args(argv)
        return importlib.import_module(COMMANDS[args.command][0]).run(args)
    except UserError as error:
        print(f"perennial {command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nperennial {command}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
