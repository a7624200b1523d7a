"""Ctrl-C between two steps."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupt_flag() -> Iterator[list[None]]:
    """Yield a list that the first Ctrl-C makes non-empty, so that a step can be finished and saved.

    The next Ctrl-C interrupts at once. Outside the main thread nothing is caught.
    """
    flag: list[None] = []

    def remember(number: int, frame: object) -> None:
        flag.append(None)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        previous = signal.signal(signal.SIGINT, remember)
    except ValueError:  # not in the main thread
        yield flag
        return
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, previous)
