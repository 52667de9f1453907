"""A file that only one process at a time may hold."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from perennial.errors import UserError


@contextmanager
def locked(file: Path, busy: str, instead: str) -> Iterator[IO]:
    """Hold a file, which is made if need be, and give it opened; its folder must be there.

    Args:
        file: the file.
        busy: the error where another process holds it.
        instead: what to do where a lock cannot be had at all.

    Raises:
        UserError: if somebody else holds it, or it cannot be written or locked.
    """
    try:
        opened = file.open("a")
    except OSError as error:
        raise UserError(
            f"cannot write {file} ({error.strerror}); mend that, or {instead}."
        ) from error
    # The system lets go of the lock when the last process that has the file ends, however it
    # ends. The file stays, because somebody may just have opened it.
    with opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(busy) from error
        except OSError as error:
            raise UserError(
                f"{file} cannot be locked ({error.strerror}): {instead}, on another disk."
            ) from error
        yield opened
