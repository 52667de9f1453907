"""The list of what was forgotten: salted hashes of keys, in a file beside the warehouse.

    {"salt": "9f…"}
    {"key_hash": "41…", "forgotten_on": "2024-12-31"}

The file outlives the warehouse, so that one that is made anew forgets the same people; every
build takes it into the schema `erasure` (macros/input/forgotten.sql), by which raw rows are left
out. Which keys belong together, and whose they were, it does not say.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from perennial.errors import UserError

# What a key may identify; `person` in models/staging/_raw.yml says which columns hold it.
KINDS = ("customer", "order", "device", "session", "event", "review", "question")

# Kind -> keys as the raw tables hold them.
Keys = dict[str, set[str]]


@dataclass
class Forgotten:
    """The list: its salt, and the day (ISO) on which each hashed key was forgotten."""

    salt: str
    days: dict[str, str] = field(default_factory=dict)

    def hash_of(self, kind: str, key: str) -> str:
        """Return the hash by which a key is known."""
        return hashlib.sha256(f"{self.salt}{kind}:{key}".encode()).hexdigest()

    def holds(self, kind: str, key: str) -> bool:
        """Whether a key was forgotten."""
        return self.hash_of(kind, key) in self.days

    def add(self, keys: Keys, day: str) -> None:
        """Put keys on the list; those that are on it keep their day."""
        for kind in KINDS:
            for key in keys.get(kind, ()):
                self.days.setdefault(self.hash_of(kind, key), day)


def list_file(warehouse: Path) -> Path:
    """Return where the list of a warehouse is."""
    return warehouse.with_name(warehouse.name + ".forgotten.jsonl")


def read_list(warehouse: Path, connection: duckdb.DuckDBPyConnection, database: str) -> Forgotten:
    """Return the list in the file, and what only the attached warehouse knows of; else a new one.

    UserError if the file cannot be read, or the two have different salts.
    """
    file = list_file(warehouse)
    salts, days = set(), {}
    try:
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        for line in map(json.loads, lines):
            if "salt" in line:
                salts.add(line["salt"])
            else:
                days[line["key_hash"]] = line["forgotten_on"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"the list of forgotten people {file} cannot be read ({error}); put back a whole one, "
            "because without it people would come back."
        ) from error
    if _has_list(connection, database):
        salts |= {row[0] for row in connection.execute(f"from {database}.erasure.salt").fetchall()}
        for key_hash, day in connection.execute(
            f"select key_hash, cast(forgotten_on as varchar) from {database}.erasure.forgotten"
        ).fetchall():
            days.setdefault(key_hash, day)
    if len(salts) > 1 or (days and not salts):
        raise UserError(
            f"{file} is not the list of {warehouse}: their salts differ; put back the one that "
            "belongs to it."
        )
    return Forgotten(salts.pop() if salts else secrets.token_hex(32), days)


def write_list(warehouse: Path, forgotten: Forgotten) -> None:
    """Write the list in one step, readable by its owner only; OSError if that fails."""
    file = list_file(warehouse)
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    lines = [{"salt": forgotten.salt}]
    lines += [
        {"key_hash": key_hash, "forgotten_on": day}
        for key_hash, day in sorted(forgotten.days.items())
    ]
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)
    replace(fresh, file)


def replace(fresh: Path, file: Path) -> None:
    """Put a finished file in the place of another, on the disk before it has the name."""
    for path, rename in ((fresh, True), (file.parent, False)):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if rename:
            fresh.replace(file)


def _has_list(connection: duckdb.DuckDBPyConnection, database: str) -> bool:
    return bool(
        connection.execute(
            "select 1 from duckdb_tables() where database_name = ? and schema_name = 'erasure' "
            "and table_name = 'forgotten'",
            [database],
        ).fetchone()
    )
