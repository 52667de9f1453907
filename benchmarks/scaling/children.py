"""Commands run as processes of their own: how long they take, and how much memory."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from perennial.children import clean_environment
from perennial.errors import UserError

PROJECT = Path(__file__).parents[2]
PROC = Path("/proc")
SAMPLE_SECONDS = 0.2
TELL_SECONDS = 60
# Polars takes all cores unless it is told; DuckDB has the two of profiles.yml.
THREADS = 2


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds by the clock, and the most bytes that it held in memory.

    Memory is the resident set, summed over all processes of the command: a page that two of them
    share counts twice, a file that is mapped counts as far as it was read. `others` is the share of
    all cores that went to other work in the meantime: where it is not near 0, the seconds are not
    the command's alone.
    """

    seconds: float
    peak_bytes: int
    others: float


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measured_environment(**more: object) -> dict[str, str]:
    """The environment of a command that is measured."""
    return clean_environment(
        POLARS_MAX_THREADS=THREADS,
        # The children are modules that lie here.
        PYTHONPATH=PROJECT / "benchmarks",
        **more,
    )


def run(command: list[object], environment: Mapping[str, str], doing: str) -> tuple[Cost, str]:
    """Run a command to its end; return what it cost and what it printed to stdout.

    UserError where it fails, after the end of what it said. It runs in a session of its own, by
    which its processes are known, and none of which is left when somebody stops the benchmark.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        began, busy, own = time.monotonic(), busy_seconds(), child_seconds()
        process = subprocess.Popen(
            [*map(str, command)],
            cwd=PROJECT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            start_new_session=True,
        )
        try:
            peak = watch(process, doing)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        seconds = time.monotonic() - began
        others = busy_seconds() - busy - (child_seconds() - own)
        cost = Cost(seconds, peak, max(0.0, others / seconds / (os.cpu_count() or 1)))
        out.seek(0)
        errors.seek(0)
        said = out.read()
        if process.returncode:
            say(said[-4000:] + errors.read()[-4000:])
            raise UserError(
                f"{doing} ended with exit code {process.returncode} after {cost.seconds:.0f} s "
                f"and {peak / 1e9:.1f} GB; the lines above tell why."
            )
        return cost, said


def watch(process: subprocess.Popen, doing: str) -> int:
    """Wait for a process that leads a session; return the most bytes its session held."""
    began = told = time.monotonic()
    peak = 0
    while True:
        try:
            process.wait(SAMPLE_SECONDS)
            return peak
        except subprocess.TimeoutExpired:
            held = resident_bytes(process.pid)
        peak = max(peak, held)
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            say(f"  {doing}: {told - began:.0f} s, {held / 1e9:.1f} GB, at most {peak / 1e9:.1f}")


def busy_seconds() -> float:
    """The time that all cores of the machine have worked, or were kept from it, since it began."""
    user, nice, system, _, _, *interrupted = map(
        int, (PROC / "stat").read_text().split("\n")[0].split()[1:9]
    )
    return (user + nice + system + sum(interrupted)) / os.sysconf("SC_CLK_TCK")


def child_seconds() -> float:
    """The time that the commands which have ended have worked."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resident_bytes(session: int) -> int:
    """The memory that the processes of a session hold now."""
    pages = 0
    for file in PROC.glob("[0-9]*/stat"):
        try:
            text = file.read_text()
        except OSError:
            # It has ended since it was listed.
            continue
        # A process may have any name, with spaces and brackets: fields count from behind it.
        fields = text.rpartition(")")[2].split()
        if int(fields[3]) == session:
            pages += int(fields[21])
    return pages * os.sysconf("SC_PAGE_SIZE")
