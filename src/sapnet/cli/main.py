"""The entry point of ``sapnet``: runs a verb, prints its outcome, and turns errors into exit codes."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from sapnet.cli.parser import build_parser
from sapnet.cli.verbs import Outcome
from sapnet.errors import SapnetError

INTERRUPTED = 130
_LISTED_ITEMS = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after ``sapnet``; those of the process if None.

    Returns:
        0 done; 1 the job failed; 2 bad input, settings or usage; 130 interrupted.
    """
    try:
        args = build_parser().parse_args(arguments)
    except SystemExit as stop:  # argparse has printed help, the version or the usage error
        return stop.code if isinstance(stop.code, int) else 0
    try:
        outcome: Outcome = args.command(args)
        _emit(outcome, as_json=args.json, quiet=args.quiet)
    except KeyboardInterrupt:
        _complain("interrupted; the state is kept, the same command continues (train and run: add --resume)")
        return INTERRUPTED
    except SapnetError as error:
        _complain(str(error), debug=args.debug)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: people get a message, --debug the rest
        message = " ".join(str(error).split())
        hint = "" if args.debug else " (unexpected; --debug shows the traceback)"
        _complain(f"{type(error).__name__}: {message}{hint}", debug=args.debug)
        return 1
    return outcome.exit_code


def _emit(outcome: Outcome, *, as_json: bool, quiet: bool) -> None:
    """Print figures as JSON on stdout, or for people on stderr; only the first process prints."""
    if os.environ.get("RANK", "0") != "0":
        return
    if as_json:
        _print_to_stdout(json.dumps(_plain(outcome.figures), indent=2, allow_nan=False) + "\n")
    elif outcome.text is not None:
        _print_to_stdout(outcome.text)
    elif not quiet or outcome.exit_code:
        for line in outcome.closing or _summary(outcome.figures):
            print(line, file=sys.stderr)


def _print_to_stdout(text: str) -> None:
    """Write to stdout; a reader that has left (``| head``) is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout once more at exit; give it somewhere harmless to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str, *, debug: bool = False) -> None:
    with contextlib.suppress(OSError):
        if debug:
            traceback.print_exc()
        print(f"error: {message}", file=sys.stderr)


def _plain(value: Any) -> Any:
    """Return ``value`` with only what strict JSON knows; NaN and infinity become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if hasattr(value, "tolist"):  # numpy and torch numbers and arrays
        return _plain(value.tolist())
    return str(value)


def _summary(figures: Any, prefix: str = "") -> Iterator[str]:
    """Yield one ``name: value`` line per figure."""
    for key, value in _plain(figures).items() if isinstance(figures, dict) else [("result", figures)]:
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _summary(value, f"{name}.")
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            yield from (f"{name}: {item}" for item in value)
        elif isinstance(value, list):
            more = f" ... ({len(value)} in all)" if len(value) > _LISTED_ITEMS else ""
            yield f"{name}: {json.dumps(value[:_LISTED_ITEMS])}{more}"
        elif isinstance(value, float):
            yield f"{name}: {value:.4g}"
        elif value is not None:
            yield f"{name}: {value}"


if __name__ == "__main__":
    raise SystemExit(main())
