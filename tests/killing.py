"""Processes of tests that are killed at a chosen moment."""

import os
import signal


def in_child(function):
    """Run a function in a forked process; return its exit code, negative for a signal."""
    process = os.fork()
    if process == 0:
        try:
            function()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def die(*_arguments, **_settings):
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at(number, function):
    """A stand-in that calls through, but kills the process on its call with that 0-based number."""
    calls = iter(range(10**6))

    def stand_in(*arguments, **settings):
        return die() if next(calls) == number else function(*arguments, **settings)

    return stand_in
