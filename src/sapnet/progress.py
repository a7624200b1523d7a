"""Progress of a long loop on stderr: a bar on a terminal, otherwise a line every few seconds.

Nothing is printed when ``quiet`` is set or in the side processes of a distributed run, and a
closed stderr never stops the work.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TextIO

SECONDS_BETWEEN_LINES = 5.0


def duration(seconds: float) -> str:
    """Return a duration in seconds as ``m:ss`` or ``h:mm:ss``."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """Shows how far a loop is, how fast it goes and when it will end; a context manager.

    Args:
        total: Number of units to do, those done earlier included.
        title: What is going on, such as ``"propose"``.
        done: Units that an interrupted run had finished; they do not count for the rate.
        quiet: Print nothing.
        stream: Where to print; stderr if None.
        clock: Returns seconds; replaced in tests.
    """

    def __init__(
        self,
        total: int,
        title: str,
        *,
        done: int = 0,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self.title = title
        self.done = done
        self._done_before = done
        self._note = ""
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._silent = quiet or os.environ.get("RANK", "0") != "0"
        self._started = self._last_line = clock()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        self._started = self._last_line = self._clock()
        if not self._silent and self._stream.isatty():
            self._bar, self._task = _terminal_bar(self._stream, self.total, self.title, self.done)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.stop()
            return
        elapsed = duration(self._clock() - self._started)
        self._print(f"{self._position()}  {'done' if kind is None else 'stopped'} after {elapsed}")

    @property
    def rate(self) -> float:
        """Units per second since the start of this process; 0 while nothing is known."""
        elapsed = self._clock() - self._started
        return (self.done - self._done_before) / elapsed if elapsed > 0 else 0.0

    def reach(self, done: int) -> None:
        """Count up to ``done``; what the first call jumps over was done by an earlier run.

        Args:
            done: Units done by now, the last of them by this process.
        """
        if self.done == self._done_before and done - self.done > 1:
            # It took this process no time, so it must not count for the rate.
            self.done = self._done_before = done - 1
            if self._bar is not None:
                with contextlib.suppress(OSError):
                    self._bar.reset(self._task, completed=self.done)
        self.advance(done - self.done)

    def advance(self, amount: int = 1, *, note: str = "") -> None:
        """Count ``amount`` more units as done and show ``note`` (a loss, a file name) beside them."""
        self.done += amount
        self._note = note
        if self._silent:
            return
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.update(self._task, advance=amount, note=note, rate=f"{self.rate:.1f}/s")
            return
        now = self._clock()
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._print(self._line())

    def message(self, text: str) -> None:
        """Print a line of its own (a warning, a skipped file) without disturbing the bar."""
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.console.print(text, markup=False, highlight=False)
        else:
            self._print(text)

    def _position(self) -> str:
        percent = f" ({100 * self.done // self.total} %)" if self.total else ""
        return f"{self.title}  {self.done}/{self.total}{percent}"

    def _line(self) -> str:
        rate = self.rate
        parts = [self._position(), f"{rate:.1f}/s"]
        if rate > 0:
            parts.append(f"ETA {duration((self.total - self.done) / rate)}")
        return "  ".join([*parts, self._note]).rstrip()

    def _print(self, text: str) -> None:
        if self._silent:
            return
        try:
            print(text, file=self._stream, flush=True)
        except (OSError, ValueError):  # the reader of stderr has gone; the work goes on
            self._silent = True


def _terminal_bar(stream: TextIO, total: int, title: str, done: int) -> tuple[Any, Any]:
    from rich import progress as rich_progress  # here, because only a terminal pays for it
    from rich.console import Console

    bar = rich_progress.Progress(
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TextColumn("{task.fields[rate]}", markup=False),
        rich_progress.TimeRemainingColumn(),
        rich_progress.TextColumn("{task.fields[note]}", markup=False),
        console=Console(file=stream),
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = bar.add_task(title, total=total, completed=done, note="", rate="")
    return bar, task
