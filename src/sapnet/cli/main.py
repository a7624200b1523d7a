"""The entry point of ``sapnet``: runs a verb, prints its outcome, and turns errors into exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Sequence

from sapnet.cli.closing import plain, summary_lines
from sapnet.cli.output_paths import refuse_bad_outputs
from sapnet.cli.parser import build_parser
from sapnet.cli.verbs import Outcome
from sapnet.errors import InputError, SapnetError

INTERRUPTED = 130


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
        refuse_bad_outputs(args)
        outcome: Outcome = args.command(args)
        _emit(outcome, as_json=args.json, quiet=args.quiet)
    except KeyboardInterrupt:
        _complain("interrupted; the state is kept, the same command continues (train and run: add --resume)")
        return INTERRUPTED
    except SapnetError as error:
        _complain(str(error), debug=args.debug)
        return error.exit_code
    except PermissionError as error:
        _complain(f"{error.filename}: no permission to read or write this", debug=args.debug)
        return InputError.exit_code
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
        _print_to_stdout(json.dumps(plain(outcome.figures), indent=2, allow_nan=False) + "\n")
    elif outcome.text is not None:
        _print_to_stdout(outcome.text)
    elif not quiet or outcome.exit_code:
        for line in outcome.closing or summary_lines(outcome.figures):
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


if __name__ == "__main__":
    raise SystemExit(main())
