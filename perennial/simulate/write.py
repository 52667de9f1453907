"""Writing tables: typed frames in, files of fixed bytes out, and a progress bar."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from perennial.contract import Column, columns_of, read_contract
from perennial.errors import UserError
from perennial.simulate import dirt as dirty

# Values never have more digits than these: a text file need not show the contract's full scale.
TEXT_TYPES = {"decimal(18,3)": pl.Int64(), "decimal(18,4)": pl.Decimal(18, 2)}
TIMESTAMP = "%Y-%m-%d %H:%M:%S"

# The tables of the truth.
TRUTH = (
    "campaigns",
    "customers",
    "dirt",
    "identities",
    "orders",
    "pairs",
    "products",
    "reviews",
    "rivals",
    "support_questions",
    "touches",
)


class Writer:
    """Writes the tables of one shop, chunk by chunk, into a folder.

    Parameters
    ----------
    folder, truth
        Where the raw tables and the hidden truth go; `truth` None leaves it out.
    suffix
        "csv" or "parquet".
    prefix
        Put before each raw table's name.
    many
        Whether tables come in several chunks, which are then numbered from 00001.
    dirt
        The `Dirt` that spoils the raw tables on their way, or None.

    """

    def __init__(
        self,
        folder: Path,
        truth: Path | None,
        suffix: str,
        *,
        prefix: str = "",
        many: bool = False,
        dirt: dirty.Dirt | None = None,
    ) -> None:
        self.folder, self.truth, self.suffix = folder, truth, suffix
        self.prefix, self.many, self.dirt = prefix, many, dirt
        self.rows: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if truth is not None:
            truth.mkdir(parents=True, exist_ok=True)

    def table(self, name: str, frame: pl.DataFrame, chunk: int = 0) -> None:
        """Write one raw table, or one chunk of it (chunks count from 1; 0 is all of it)."""
        typed = conform(name, frame)
        if self.dirt is not None:
            typed = self.dirt.spoil(name, typed, chunk)
        self.rows[name] = self.rows.get(name, 0) + typed.height
        self._write(self.folder / f"{self.prefix}{name}", typed, chunk, columns_of(name))

    def hidden(self, name: str, frame: pl.DataFrame, chunk: int = 0) -> None:
        """Write one table of the truth, or one chunk of it."""
        if self.truth is not None:
            self._write(self.truth / name, frame, chunk, ())

    def document(self, name: str, content: dict) -> None:
        """Write a JSON document beside the truth's tables."""
        if self.truth is not None:
            text = json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True)
            (self.truth / f"{name}.json").write_text(text + "\n", encoding="utf-8")

    def _write(
        self, path: Path, frame: pl.DataFrame, chunk: int, columns: tuple[Column, ...]
    ) -> None:
        number = f"_{chunk:05d}" if self.many and chunk else ""
        target = path.with_name(f"{path.name}{number}.{self.suffix}")
        if self.suffix == "csv":
            narrow = [
                pl.col(column.name).cast(TEXT_TYPES[column.type])
                for column in columns
                if column.type in TEXT_TYPES and frame.schema[column.name] != pl.String
            ]
            frame.with_columns(narrow).write_csv(target, datetime_format=TIMESTAMP)
        else:
            frame.write_parquet(
                target, compression="zstd", compression_level=1, row_group_size=262_144
            )


def conform(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the contract's columns, order and types; absent columns are null."""
    have = set(frame.columns)
    return frame.select(
        (pl.col(column.name) if column.name in have else pl.lit(None).alias(column.name)).cast(
            column.dtype
        )
        for column in columns_of(name)
    )


def shop_files(folder: Path, prefix: str = "", names: Iterable[str] | None = None) -> list[Path]:
    """The files in a folder that a run of the simulator has written for these tables, or all."""
    found: list[Path] = []
    for name in read_contract() if names is None else names:
        for suffix in ("csv", "parquet"):
            found += folder.glob(f"{prefix}{name}.{suffix}")
            found += folder.glob(f"{prefix}{name}_[0-9][0-9][0-9][0-9][0-9].{suffix}")
    return sorted(found)


def publish(work: Path, target: Path, old: list[Path]) -> None:
    """Move a finished folder to its place.

    A fresh place is one rename. Where the folder is there already, the files named as
    `old` go and the new ones come in one by one, so that notes beside them survive.
    """
    try:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(work, target)
            return
        for path in old:
            path.unlink()
        for path in sorted(work.rglob("*")):
            if path.is_file():
                place = target / path.relative_to(work)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(path, place)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror}.") from error


class Progress:
    """A bar on stderr; where stderr is no terminal, a line at each tenth of a long run."""

    def __init__(self, total: int, label: str) -> None:
        self.total, self.label = total, label
        self.began, self.tenth = time.monotonic(), 0
        self.bar = sys.stderr.isatty()

    def step(self, done: int, note: str) -> None:
        """Show that `done` of the total steps are finished."""
        share = done / self.total
        left = (time.monotonic() - self.began) * (1 - share) / max(share, 1e-9)
        if self.bar:
            filled = round(share * 30)
            line = "#" * filled + "." * (30 - filled)
            end = "\n" if done == self.total else ""
            sys.stderr.write(
                f"\r{self.label} [{line}] {share:4.0%}  {note}  {left:5.0f} s left {end}"
            )
            sys.stderr.flush()
        elif int(share * 10) > self.tenth and self.total > 1:
            self.tenth = int(share * 10)
            print(f"{self.label} {share:4.0%}  {note}  {left:.0f} s left", file=sys.stderr)
