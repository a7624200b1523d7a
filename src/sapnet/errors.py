"""Errors that are messages for people. The command line turns them into exit codes.

``InputError`` (and its subclasses) means that something the user gave is wrong: exit code 2,
every problem listed, nothing written. ``JobError`` means that correct input met a failing job:
exit code 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class SapnetError(Exception):
    """Base of every error that sapnet raises on purpose."""

    exit_code = 1


class JobError(SapnetError):
    """The input was right, the job failed (full disk, killed worker, non-finite loss)."""


class InputError(SapnetError):
    """Bad input, with *all* problems found, one per line.

    Args:
        subject: What was being read, for the first line ("points.json", "config.yaml").
        problems: One complete sentence per problem: what, where (file, line, id), what was
            expected, and the nearest valid name where there is one.
    """

    exit_code = 2

    def __init__(self, subject: str, problems: Sequence[str]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        count = len(self.problems)
        plural = "problem" if count == 1 else "problems"
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{count} {plural} in {subject}\n{lines}")


class ConfigError(InputError):
    """A configuration file or a ``key=value`` override is wrong."""


class DataError(InputError):
    """An annotation file or an image folder is wrong."""


class StoreError(InputError):
    """A proposal store is missing, unfinished, corrupt or was made from other points."""


class CheckpointError(InputError):
    """A model file or a run folder cannot be used."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the valid name closest to ``name``, or ``""``."""
    matches = difflib.get_close_matches(name, list(valid), n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
