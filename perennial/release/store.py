"""The folder of a shop's releases, and the link that says which of them readers see.

    releases/demo/current -> 000003          what readers name; replaced in one step
    releases/demo/000003/warehouse.duckdb    the marts
    releases/demo/000003/manifest.json       what they are
    releases/demo/000003/parquet/            the marts once more, a file each, if wished

Why a link to a folder. One step then changes the DuckDB file, the parquet files and the manifest
together. And DuckDB follows links to the real file before it does anything else: it looks for the
write-ahead log beside that file, so that a log which somebody left under the published name can
never meet the next release (DuckDB would refuse to open it), and a program that still has the old
release open gets the next one when it connects anew, which a file replaced under the same name
would not give it. The file has the same name in every release because DuckDB calls the database
after it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from perennial.errors import UserError
from perennial.locking import locked

CURRENT = "current"
DATABASE = "warehouse.duckdb"
MANIFEST = "manifest.json"
PARQUET = "parquet"

# Names that only publish gives, so that what a killed run left can be told from all else.
LEFTOVER = re.compile(r"\.(making|deleting)-\d{6,}|\.current-next")


@dataclass(frozen=True)
class Release:
    """One release: its number and its folder."""

    number: int
    folder: Path

    @property
    def name(self) -> str:
        """The number as people and links write it."""
        return self.folder.name

    @property
    def database(self) -> Path:
        """The DuckDB file with the marts."""
        return self.folder / DATABASE

    @property
    def parquet(self) -> Path | None:
        """The folder with a parquet file per mart, None if the release has none."""
        folder = self.folder / PARQUET
        return folder if folder.is_dir() else None

    @property
    def manifest(self) -> dict:
        """What the release says of itself; UserError if that cannot be read."""
        file = self.folder / MANIFEST
        try:
            return json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{file} cannot be read; go back to another release, or delete {self.folder}."
            ) from error

    @property
    def n_bytes(self) -> int:
        """What the release takes on disk."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())


def name_of(number: int) -> str:
    """Return the number as the name of a release."""
    return f"{number:06d}"


def list_releases(folder: Path) -> list[Release]:
    """Return the releases of a folder, the oldest first; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(
        (
            Release(int(entry.name), entry)
            for entry in folder.iterdir()
            # A folder of somebody else may be called like a number.
            if _is_number(entry.name) and (entry / MANIFEST).is_file()
        ),
        key=lambda release: release.number,
    )


def current_release(folder: Path) -> Release | None:
    """Return the release that readers see."""
    link = folder / CURRENT
    if not link.is_symlink():
        return None
    target = str(link.readlink())
    return next((r for r in list_releases(folder) if r.name == target), None)


def find_release(folder: Path, said: str) -> Release:
    """Return the release that a user names, with or without zeros before its number.

    Without a name it is the one before the current. UserError if there is no such release.
    """
    releases = list_releases(folder)
    if not releases:
        raise UserError(f"there is no release in {folder}.")
    if said:
        found = [r for r in releases if said.isdecimal() and r.number == int(said)]
        missing = f"there is no release {said} in {folder}"
    else:
        current = current_release(folder)
        if current is None:
            raise UserError(f"no release in {folder} is current; name the one to go back to.")
        found = [r for r in releases if r.number < current.number][-1:]
        missing = f"there is no release before {current.name} in {folder}"
    if not found:
        raise UserError(f"{missing}; there are {', '.join(r.name for r in releases)}.")
    return found[0]


def next_number(folder: Path) -> int:
    """Return a number above every one that was given."""
    taken = [int(entry.name) for entry in folder.iterdir() if _is_number(entry.name)]
    return max(taken, default=0) + 1


def _is_number(name: str) -> bool:
    return re.fullmatch(r"\d{6,}", name, re.ASCII) is not None


@contextmanager
def only_publisher(folder: Path) -> Iterator[None]:
    """Keep others from changing the releases of a folder, which is made if need be.

    UserError if somebody is at it, or the folder cannot be written.
    """
    instead = "choose another folder with --to"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write into {folder} ({error.strerror}); mend that, or {instead}."
        ) from error
    busy = f"another publish is at work in {folder}; wait until it has finished."
    with locked(folder / ".lock", busy, instead):
        yield


def clean(folder: Path) -> None:
    """Delete what killed runs have left. Only under the lock: it could be somebody's work."""
    for entry in folder.iterdir():
        if not LEFTOVER.fullmatch(entry.name):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


@contextmanager
def draft(folder: Path, number: int) -> Iterator[Path]:
    """Give a folder to make a release in; it is deleted if that fails."""
    place = folder / f".making-{name_of(number)}"
    place.mkdir()
    try:
        yield place
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def settle(place: Path, folder: Path, number: int) -> Release:
    """Turn a draft into a release. It is on the disk, whole, before it has its name."""
    for path in [*place.rglob("*"), place]:
        if path.is_file():
            # Nobody may write into a release. Reading needs no right to write.
            path.chmod(path.stat().st_mode & ~0o222)
        _sync(path)
    release = Release(number, folder / name_of(number))
    place.rename(release.folder)
    _sync(folder)
    return release


def check_link(folder: Path) -> None:
    """Stop where the published name is something that publish did not make."""
    link = folder / CURRENT
    if link.exists() and not link.is_symlink():
        raise UserError(f"{link} is no link that publish has made; move it away and try again.")


def point_to(folder: Path, release: Release) -> None:
    """Let readers see a release: in one step, whatever happens."""
    fresh = folder / ".current-next"
    fresh.unlink(missing_ok=True)
    # Relative, so that the folder can be moved or be mounted elsewhere.
    fresh.symlink_to(release.name)
    fresh.replace(folder / CURRENT)
    _sync(folder)


def too_many(releases: list[Release], current: Release, keep: int) -> list[Release]:
    """Return the releases to delete so that the `keep` newest stay, and the current one."""
    return [r for r in releases[:-keep] if r.number != current.number]


def delete(release: Release) -> None:
    """Delete a release; one that is half deleted does not look like a release."""
    doomed = release.folder.with_name(f".deleting-{release.name}")
    release.folder.rename(doomed)
    shutil.rmtree(doomed)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
