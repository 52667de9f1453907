"""Where a person is to be forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perennial.erasure.files import RawFile, raw_files
from perennial.release.store import Release, list_releases


@dataclass(frozen=True)
class Place:
    """Where a shop's data are: its warehouse, releases, raw folder (if it has one) and report."""

    project: Path
    shop: str
    warehouse: Path
    releases_folder: Path
    raw: Path | None
    report: Path

    @property
    def releases(self) -> list[Release]:
        """The releases, the oldest first."""
        return list_releases(self.releases_folder)

    @property
    def files(self) -> list[RawFile]:
        """The raw files that a build of the shop `files` reads; none for any other shop."""
        return raw_files(self.raw) if self.shop == "files" and self.raw else []
