"""What files that are appended to need: whole writes, and one writer at a time."""

from __future__ import annotations

import io
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows: two writers of one file are not told apart there.
    fcntl = None  # type: ignore[assignment]


def write_all(file: io.FileIO, data: bytes) -> None:
    """Write bytes to an unbuffered file, however many calls the system needs.

    Raises:
        OSError: The disk is full or failing; a part may have been written.
    """
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def lock(file: IO[Any] | io.FileIO, *, wait: bool = False) -> bool:
    """Lock a file for this process; the system lets go of it when the process dies or closes the file.

    Args:
        file: An open file.
        wait: Until the process that has it lets go.

    Returns:
        False where another process has it; True where this one has, or the system has no such locks.

    Raises:
        OSError: The file system cannot lock.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
