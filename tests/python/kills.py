"""Kill builds and publishes with SIGKILL at random moments; nothing may come of it.

After a kill nothing half built may get out as a release, what readers see must be a whole release,
the next build must give what a build from nothing gives, and the next publish must work.

`python tests/python/kills.py --n 200` kills that often and stops at the first difference. A life
of the shop is made of the seed and its own number alone, so `--seed S --only NUMBER` repeats it;
only where exactly the kill falls depends on the machine.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import psutil
from comparing import differing
from conftest import ONLY_MODELS, PROJECT

from perennial.children import clean_environment
from perennial.errors import UserError
from perennial.publish import publish
from perennial.release.contract import read_contract
from perennial.release.making import verify_release
from perennial.release.store import CURRENT, DATABASE, current_release, list_releases
from perennial.verdict import GREEN, record_verdict

# The shares of the history that the shop may have sent.
LOADS = (0.9, 0.97, 1.0)
CUSTOMERS = 60


@dataclass
class Place:
    """A small shop of csv and parquet files, its warehouse and its releases.

    They stay at the same paths, because dbt parses everything anew when one of them changes.
    """

    folder: Path
    exclude: str = ONLY_MODELS
    cleaned: dict[float, Path] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.contract = read_contract(PROJECT)
        done = self.start("simulate", "--customers", CUSTOMERS, "--seed", 3, "--out", self.whole)
        assert done.wait() == 0, self.said()
        self.raw.mkdir()

    @property
    def whole(self) -> Path:
        return self.folder / "whole"

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    @property
    def warehouse(self) -> Path:
        return self.folder / "shop.duckdb"

    @property
    def releases(self) -> Path:
        return self.folder / "releases"

    @property
    def output(self) -> Path:
        return self.folder / "output.txt"

    def said(self) -> str:
        return self.output.read_text("utf-8")

    def start(self, *arguments: object, **options: object) -> subprocess.Popen:
        """Start a command in a process group of its own; its output goes to a file."""
        environment = clean_environment(
            DBT_TARGET_PATH=self.folder / "target",
            DBT_LOG_PATH=self.folder / "logs",
            DBT_LOG_LEVEL_FILE="none",
            PYTHONUNBUFFERED=1,
        )
        with self.output.open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "perennial.cli", *map(str, arguments)],
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )

    def build_arguments(self, full_refresh: bool = False) -> list[object]:
        arguments = ["build", "--shop", "files", "--raw", self.raw, "--warehouse", self.warehouse]
        arguments += ["--no-report", "--exclude", self.exclude]
        return [*arguments, "--full-refresh"] if full_refresh else arguments

    def publish_arguments(self, *more: object) -> list[object]:
        return ["publish", "--warehouse", self.warehouse, "--to", self.releases, "--force", *more]

    @contextmanager
    def running(self, *arguments: object) -> Iterator[subprocess.Popen]:
        """Start a command; in the end none of it is left, also when somebody stops the kills."""
        process = self.start(*arguments)
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                wait_for_group(process.pid)

    def finish(self, *arguments: object) -> None:
        """Run a command to its end, which must be a good one, and remember how long it took."""
        began = time.monotonic()
        with self.running(*arguments) as process:
            code = process.wait()
        self.seconds[str(arguments[0])] = time.monotonic() - began
        assert code == 0, self.said()[-3000:]

    def load(self, share: float) -> None:
        """Let the shop have sent the rows that were ingested in this share of its history."""
        files = sorted(self.whole.glob("*.csv"))
        moments = f"read_csv('{self.whole}/orders.csv')"
        [(until,)] = duckdb.sql(
            f"select quantile_disc(ingested_at, {share}) from {moments}"
        ).fetchall()
        for file in files:
            rows = f"read_csv('{file}', all_varchar = true)"
            if "ingested_at" in file.open(encoding="utf-8").readline():
                rows += f" where cast(ingested_at as timestamp) <= timestamp '{until}'"
            # The longest table, so that there is a parquet file too.
            kind = "parquet" if file.stem == "events" else "csv"
            duckdb.sql(f"copy (from {rows}) to '{self.raw}/{file.stem}.{kind}' (format {kind})")

    def forget_warehouse(self) -> None:
        for path in self.folder.glob("shop.duckdb*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def clean(self, share: float) -> Path:
        """The warehouse of a build from nothing of such a shop; the shop has it loaded then."""
        self.load(share)
        if share not in self.cleaned:
            self.forget_warehouse()
            self.finish(*self.build_arguments())
            # As if the data tests had been run too: publish asks for that.
            record_verdict(self.warehouse, GREEN)
            self.cleaned[share] = self.warehouse.rename(self.folder / f"clean_{share}.duckdb")
        return self.cleaned[share]

    def begin(self, share: float | None) -> None:
        """Put a warehouse of such a shop in its place, or none."""
        self.forget_warehouse()
        if share is not None:
            clean = self.clean(share)
            self.forget_warehouse()
            shutil.copy(clean, self.warehouse)

    def killed(self, moment: float, *arguments: object) -> str | None:
        """Start a command, kill all of it after `moment` of its usual time.

        Return what was at work, or None if the command was over by then.
        """
        with self.running(*arguments) as process:
            waited = moment * self.seconds[str(arguments[0])]
            time.sleep(waited)
            is_over = process.poll() is not None
        if is_over:
            # The time was taken while the machine was busier: what comes next is killed sooner.
            self.seconds[str(arguments[0])] = waited
            return None
        return at_work(self.said()) if arguments[0] == "build" else step(self.said())


def wait_for_group(group: int, seconds: float = 60) -> None:
    """Return when no process of a killed group is left; the kernel takes its time to clear one."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        left = 0
        for process in psutil.process_iter():
            try:
                left += (
                    os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
                )
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        if not left:
            return
        time.sleep(0.05)
    raise TimeoutError(f"processes of the group {group} live on after SIGKILL")


def at_work(log: str) -> str:
    """Which nodes of dbt were running when a build's log broke off, else which phase it was."""
    running = {}
    for number, word, what in re.findall(
        r"(\d+ of \d+) (START|OK|ERROR|SKIP|NO-OP|WARN|PASS|FAIL)\s+(.+?) \.\.", log
    ):
        if word == "START":
            running[number] = what.split()[-1]
        else:
            running.pop(number, None)
    if running:
        return "build: " + " and ".join(sorted(running.values()))
    phases = {
        "Warehouse ": "after its last word",
        "Done. PASS": "the verdict",
        " START ": "between two nodes",
        "Concurrency": "before the first node",
        "Running with dbt": "dbt reads the project",
    }
    return "build: " + next((name for sign, name in phases.items() if sign in log), "its start")


def step(log: str) -> str:
    """Which step of publish was the last that it told of."""
    lines = [line.split() for line in log.splitlines() if line and not line.startswith("  ")]
    return "publish: " + (lines[-1][0].rstrip(":").lower() if lines else "its start")


def check_readers(place: Place) -> None:
    """What readers see is a whole release: it opens, and each mart is what its manifest says."""
    release = current_release(place.releases)
    assert release is not None, "readers see nothing"
    assert set(release.manifest["tables"]) == set(place.contract)
    verify_release(release.folder, release.manifest)
    with duckdb.connect(str(place.releases / CURRENT / DATABASE), read_only=True) as connection:
        [(name,)] = connection.execute("select release from release.manifest").fetchall()
    assert name == release.name


def fingerprint_of(place: Place, warehouse: Path, folder: Path) -> str:
    """The fingerprint of a warehouse's marts, as a release of it says."""
    release = publish(warehouse, folder, place.contract, say=lambda _: None)
    return release.manifest["fingerprint"]


def nothing_half_built_gets_out(place: Place, was: float | None) -> None:
    """A publish after a killed build refuses, or the marts are those of before the build."""
    folder = place.folder / "escaped"
    try:
        found = fingerprint_of(place, place.warehouse, folder)
    except UserError:
        return
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert was is not None, "a warehouse that was never finished was published"
    assert found == fingerprint_of(place, place.cleaned[was], place.folder / f"of_{was}")


def kill_builds(place: Place, rng: random.Random, loads: tuple[float, ...]) -> Iterator[str]:
    """Kill a build once or twice; the next must equal a clean one. Yield what was at work."""
    was = rng.choice([None, *loads, *loads])
    now = rng.choice(loads)
    full_refresh = rng.random() < 0.2
    moments = [rng.random() for _ in range(rng.choice([1, 1, 2]))]
    clean = place.clean(now)
    place.begin(was)
    place.load(now)
    for moment in moments:
        what = place.killed(moment, *place.build_arguments(full_refresh))
        if what is None:
            continue
        nothing_half_built_gets_out(place, was)
        yield what
    place.finish(*place.build_arguments())
    assert differing(place.warehouse, clean) == []


@contextmanager
def reading(place: Place) -> Iterator[None]:
    """Hold the current release open; in the end its rows are still there."""
    rows = "select count(*), sum(net_amount) from marts.orders"
    with duckdb.connect(str(place.releases / CURRENT / DATABASE), read_only=True) as reader:
        before = reader.execute(rows).fetchall()
        yield
        assert reader.execute(rows).fetchall() == before


def kill_publishes(place: Place, rng: random.Random, loads: tuple[float, ...]) -> Iterator[str]:
    """Kill a publish once or twice under a reader; the next must work. Yield the step it was at."""
    was, now = rng.choice(loads), rng.choice(loads)
    more = rng.choice([[], ["--parquet"], ["--keep", 1], ["--parquet", "--keep", 1]])
    moments = [rng.random() for _ in range(rng.choice([1, 1, 2]))]
    shutil.rmtree(place.releases, ignore_errors=True)
    publish(place.clean(was), place.releases, place.contract, say=lambda _: None)
    place.begin(now)
    if "publish" not in place.seconds:
        place.finish(*place.publish_arguments("--parquet"))
    with reading(place):
        for moment in moments:
            what = place.killed(moment, *place.publish_arguments(*more))
            if what is None:
                continue
            check_readers(place)
            yield what
        place.finish(*place.publish_arguments(*more))
        check_readers(place)
    seen = current_release(place.releases)
    assert seen.name == list_releases(place.releases)[-1].name
    expected = fingerprint_of(place, place.clean(now), place.folder / f"of_{now}")
    assert seen.manifest["fingerprint"] == expected
    known = {".lock", CURRENT, *(release.name for release in list_releases(place.releases))}
    assert {entry.name for entry in place.releases.iterdir()} == known


def try_kills(
    place: Place,
    n: int,
    seed: int = 1,
    only: int | None = None,
    loads: tuple[float, ...] = LOADS,
    tell: Callable[[int, str], None] = lambda number, what: None,
) -> Counter:
    """Kill n times, or in the life with the number `only`; return how often at what.

    AssertionError, with what repeats it, for the first that comes to harm.
    """
    killed: Counter = Counter()
    number = 0 if only is None else only
    while True:
        rng = random.Random(f"{seed}/{number}")
        kill = kill_publishes if number % 2 else kill_builds
        try:
            for what in kill(place, rng, loads):
                killed[what] += 1
                tell(number, what)
        except (AssertionError, UserError, duckdb.Error) as error:
            raise AssertionError(
                f"life {number} of seed {seed}: {error}\nRepeat it with `python "
                f"tests/python/kills.py --seed {seed} --only {number}`; "
                f"its files are in {place.folder}."
            ) from error
        number += 1
        if only is not None or killed.total() >= n:
            return killed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200, help="kills (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="other lives than the usual ones")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="repeat this life only")
    args = parser.parse_args()
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    n_told = 0

    def tell(number: int, what: str) -> None:
        nonlocal n_told
        n_told += 1
        spent = time.monotonic() - began
        print(f"{n_told:>5}  after {spent:>5.0f} s  life {number:<4} {what}", flush=True)

    try:
        killed = try_kills(Place(folder), args.n, args.seed, args.only, tell=tell)
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    print("\nKilled while at work:")
    for what, count in killed.most_common():
        print(f"  {count:>4}  {what}")
    n_builds = sum(count for what, count in killed.items() if what.startswith("build"))
    print(
        f"\n{killed.total()} kills, {n_builds} of builds and {killed.total() - n_builds} of "
        f"publishes, in {time.monotonic() - began:.0f} s: every next build equals one from "
        "nothing, readers always saw a whole release, every next publish worked."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
