"""What goes wrong around a build: a sentence each, nothing lost, and the next build is right."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import pytest
from comparing import differing
from conftest import NOTHING_LEARNED, PROJECT, add_missing_marts, perennial
from kills import Place, try_kills

BEFORE, AFTER = 0.97, 1.0


class QuickPlace(Place):
    """A place whose commands run in forks of a process that has loaded dbt.

    Those that are killed do not, and the first of each kind does not: it is what tells how long
    they take.
    """

    def finish(self, *arguments: object) -> None:
        if arguments[0] not in self.seconds:
            super().finish(*arguments)
        else:
            assert self.run(*arguments) == 0, self.said()[-3000:]
        if arguments[0] == "build":
            add_missing_marts(self.warehouse)

    def run(self, *arguments: object) -> int:
        done = perennial(*arguments, target=self.folder / "target")
        self.output.write_text(done.stdout + done.stderr, "utf-8")
        return done.returncode


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> QuickPlace:
    """A small shop with a warehouse of the rows before and one of all, both built from nothing."""
    place = QuickPlace(tmp_path_factory.mktemp("place"), NOTHING_LEARNED)
    place.clean(BEFORE)
    place.clean(AFTER)
    return place


@pytest.fixture(autouse=True)
def _tidy(place: Place):
    yield
    shutil.rmtree(place.raw)
    place.raw.mkdir()


def begin(place: Place) -> None:
    """The warehouse of the rows before; the shop has sent all."""
    place.begin(BEFORE)
    place.load(AFTER)


def build(place: QuickPlace, **options: object) -> tuple[int, str]:
    """Build; return the exit code and all that was said, on one line."""
    arguments = place.build_arguments()
    code = place.start(*arguments, **options).wait() if options else place.run(*arguments)
    said = " ".join(place.said().split())
    # dbt itself shows where a Python model came to an end, and in its log where its own work did.
    ours = re.sub(r"(Python model failed:|\d\d:\d\d:\d\d) Traceback", "", said)
    assert "Traceback" not in ours.replace("occurred: Traceback", ""), said
    return code, said


def changed(place: Place, file: str, columns: str, to: str | None = None) -> None:
    """Write a csv file of the shop anew with these columns, under another name if given."""
    old = place.raw / file
    new = place.folder / "changed.csv"
    duckdb.sql(
        f"copy (select {columns} from read_csv('{old}', all_varchar = true)) to '{new}' (header)"
    )
    old.unlink()
    new.rename(place.raw / (to or file))


# Files of the shop


def test_a_truncated_parquet_file_is_named(place):
    begin(place)
    before = place.warehouse.read_bytes()
    file = place.raw / "events.parquet"
    whole = file.read_bytes()
    for length in (2, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        code, said = build(place)
        assert code == 2
        assert f"the file {file} is no whole parquet file (" in said
        assert "have it sent again and build again" in said
    assert place.warehouse.read_bytes() == before


@pytest.mark.parametrize("name", ["orders.csv", "refunds.csv", "orders_2024.parquet"])
def test_an_empty_file_is_named(name, place):
    begin(place)
    before = place.warehouse.read_bytes()
    (place.raw / name).write_bytes(b"")
    code, said = build(place)
    assert code == 2
    assert f"the file {place.raw / name} is empty" in said and "have it sent again" in said
    assert place.warehouse.read_bytes() == before


def test_a_compressed_file_that_was_cut_off_is_named(place):
    begin(place)
    file = place.raw / "orders.csv"
    packed = subprocess.run(["gzip", "-c", file], capture_output=True, check=True).stdout
    file.unlink()
    file.with_suffix(".csv.gz").write_bytes(packed[: len(packed) // 2])
    code, said = build(place)
    assert code == 1
    assert f"Unexpected end of GZIP stream: {file}.gz" in said and "mend it and run" in said
    assert differing(place.warehouse, place.cleaned[BEFORE]) == []


def test_columns_and_names_of_files_may_change_between_two_builds(place):
    begin(place)
    events = place.raw / "events.parquet"
    whole = events.read_bytes()
    events.write_bytes(whole[:-1])
    assert build(place)[0] == 2
    events.write_bytes(whole)
    changed(place, "orders.csv", "* exclude (status)")
    code, said = build(place)
    assert code == 1
    assert "the table 'orders' lacks status. Columns found: order_id, customer_id" in said
    assert f"Looked in {place.raw} for orders.csv" in said
    assert "Have them sent under these names, and build again." in said
    assert differing(place.warehouse, place.cleaned[BEFORE]) == []

    # One that the contract does not know, in another place, and a file of another name.
    place.load(AFTER)
    changed(place, "orders.csv", "'x' as warehouse_code, *", to="orders_2024.csv")
    place.finish(*place.build_arguments())
    assert differing(place.warehouse, place.cleaned[AFTER]) == []


def test_an_optional_column_may_go(place):
    begin(place)
    changed(place, "orders.csv", "* exclude (sales_channel, coupon_code)")
    place.finish(*place.build_arguments())
    kept = place.warehouse.rename(place.folder / "kept.duckdb")
    place.forget_warehouse()
    place.finish(*place.build_arguments())
    assert differing(kept, place.warehouse) == []
    assert "marts.orders" in " ".join(differing(kept, place.cleaned[AFTER]))


# Time


def test_the_newest_file_goes_and_comes_back_under_a_clock_that_was_set_back(place):
    place.begin(AFTER)
    place.load(BEFORE)
    place.finish(*place.build_arguments())
    assert differing(place.warehouse, place.cleaned[BEFORE]) == []
    # To the next build it is the same whether the clock goes back or the past lies ahead.
    with duckdb.connect(str(place.warehouse)) as connection:
        connection.execute(
            "update monitoring.runs set started_at = started_at + interval '400' day, "
            "ended_at = ended_at + interval '400' day"
        )
    ahead = time.time() + 400 * 24 * 3600
    for path in [place.warehouse, *(place.folder / "target").rglob("*")]:
        os.utime(path, (ahead, ahead))
    place.load(AFTER)
    place.finish(*place.build_arguments())
    assert differing(place.warehouse, place.cleaned[AFTER]) == []


# The disk


def limit_files(n_bytes: int) -> None:
    """No file may become longer than this: to a program the same as a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


@pytest.mark.parametrize("what", ["from nothing", "with what was there"])
def test_a_full_disk_loses_nothing(what, place):
    place.begin(None if what == "from nothing" else BEFORE)
    place.load(AFTER)
    # dbt's own files must fit, so that it is the warehouse that does not.
    dbt = max(f.stat().st_size for f in (place.folder / "target").rglob("*") if f.is_file())
    limit = dbt + 500_000
    code, said = build(place, preexec_fn=lambda: limit_files(limit))
    assert code in (1, 2)
    assert "File too large" in said
    assert "mend it and run the same command again" in said or "build again" in said
    place.finish(*place.build_arguments())
    assert differing(place.warehouse, place.cleaned[AFTER]) == []


def test_a_read_only_folder_gets_a_sentence():
    folder = Path(tempfile.mkdtemp(prefix="perennial-"))
    folder.chmod(0o555)
    # Nothing is denied to root, so that another must try.
    user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        done = subprocess.run(
            [
                sys.executable,
                "-B",
                "-m",
                "perennial.cli",
                "build",
                "--warehouse",
                folder / "w.duckdb",
            ],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            **user,
        )
    except PermissionError:
        pytest.skip("the project may be read by root only")
    finally:
        folder.chmod(0o755)
        left = list(folder.iterdir())
        shutil.rmtree(folder)
    assert done.returncode == 2
    assert f"cannot write {folder}/w.duckdb: no permission; choose another place" in done.stderr
    assert left == []


def test_a_file_in_the_place_of_the_folder_gets_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    done = perennial("build", "--warehouse", tmp_path / "file" / "w.duckdb")
    assert done.returncode == 2
    assert f"cannot make the folder {tmp_path}/file: " in done.stderr


# Two at once


def start_and_wait_for(place: Place, sign: str) -> subprocess.Popen:
    """Start a build; return it when its log or its folder shows the sign."""
    process = place.start(*place.build_arguments())
    while sign not in place.said() + " ".join(path.name for path in place.folder.iterdir()):
        assert process.poll() is None, place.said()
        time.sleep(0.02)
    return process


def refused_at_once(place: Place) -> None:
    began = time.monotonic()
    second = perennial(*place.build_arguments())
    assert second.returncode == 2, second.stdout + second.stderr
    assert f"is at work on {place.warehouse}; wait until it has ended" in second.stderr
    assert second.stdout == "" and time.monotonic() - began < 10


def test_of_two_builds_at_once_the_second_gets_a_sentence(place):
    begin(place)
    # dbt has not opened the warehouse yet, which therefore looks free.
    first = start_and_wait_for(place, "Running with dbt")
    refused_at_once(place)
    refused_at_once(place)
    assert first.wait() == 0, place.said()
    assert differing(place.warehouse, place.cleaned[AFTER]) == []


def test_a_build_whose_command_was_killed_alone_keeps_others_away(place):
    begin(place)
    first = start_and_wait_for(place, "Running with dbt")
    first.kill()
    first.wait()
    try:
        refused_at_once(place)
    finally:
        os.killpg(first.pid, signal.SIGKILL)


# Kills


def test_kills_leave_no_trace(place):
    """A sample; `make kills` tries more."""
    for first, command in enumerate(("build", "publish")):
        # It may be over before it is killed.
        for number in range(first, 20, 2):
            killed = try_kills(place, 1, only=number, loads=(BEFORE, AFTER))
            if killed:
                break
        assert {what.split(":")[0] for what in killed} == {command}


def test_the_kills_find_a_build_that_was_not_finished(place, monkeypatch):
    """Let the next build do nothing: the comparison must fail, and say how to repeat it."""
    monkeypatch.setattr(QuickPlace, "killed", lambda *_: "build: nothing")
    monkeypatch.setattr(QuickPlace, "finish", lambda *_: None)
    with pytest.raises(AssertionError, match=r"life \d+ of seed 1: .*(?s:.)*--only \d+"):
        for number in range(0, 20, 2):
            try_kills(place, 1, seed=1, only=number, loads=(BEFORE, AFTER))
