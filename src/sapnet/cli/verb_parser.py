"""An argument parser that suggests names, and the argument types of the command line."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from sapnet.errors import nearest


class VerbParser(argparse.ArgumentParser):
    """Suggests the nearest verb or option and collects ``key=value`` overrides.

    argparse cannot take overrides that stand between options, so they are picked from what it
    leaves over.
    """

    def __init__(self, *, with_overrides: bool = False, **settings: Any) -> None:
        self.known_options: set[str] = set()
        self.with_overrides = with_overrides
        self.verb_names: Collection[str] = ()
        self.default_verb: str | None = None
        super().__init__(allow_abbrev=False, **settings)

    def add_verbs(self, metavar: str, default: str | None = None) -> Any:
        """Let the parser take a verb; returns the group to which verbs are added.

        Args:
            metavar: What a verb is called in help texts.
            default: The verb that is meant where none is named.
        """
        self.default_verb = default
        group = self.add_subparsers(
            metavar=metavar, required=True, dest=metavar.lower(), parser_class=VerbParser, title="verbs"
        )
        self.verb_names = group.choices
        return group

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """Add an argument and remember its name for suggestions and messages."""
        action = super().add_argument(*names, **settings)
        self.known_options.update(action.option_strings)
        if not action.option_strings:
            self.set_defaults(positional=(*(self.get_default("positional") or ()), action.dest))
        return action

    def format_usage(self) -> str:
        """Return the usage line, overrides included."""
        usage = super().format_usage()
        return f"{usage.rstrip()} [key=value ...]\n" if self.with_overrides else usage

    def format_help(self) -> str:
        """Return the help text, overrides included."""
        return super().format_help().replace(super().format_usage(), self.format_usage(), 1)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; unknown verbs and options are refused here with their nearest names."""
        given = list(sys.argv[1:] if args is None else args)
        if self.default_verb and given and given[0] not in (*self.verb_names, "-h", "--help"):
            given = [self.default_verb, *given]
        self._refuse_unknown_names(given)
        result, rest = super().parse_known_args(given, namespace or argparse.Namespace())
        if self.with_overrides:
            result.overrides = [word for word in rest if "=" in word and not word.startswith("-")]
            rest = [word for word in rest if word not in result.overrides]
        if rest and not self.verb_names:
            hint = " (settings have the form section.key=value)" if self.with_overrides else ""
            self.error(f"unexpected argument: {', '.join(map(repr, rest))}{hint}")
        return result, rest

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message to stderr and exit with code 2."""
        self.exit(2, f"{self.format_usage()}error: {message}\n")

    def _refuse_unknown_names(self, given: Sequence[str]) -> None:
        words = list(itertools.takewhile(lambda word: word != "--", given))
        if self.verb_names:  # what follows the verb is the verb's business
            words = list(itertools.takewhile(lambda word: word.startswith("-"), words))
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        unknown = [option for option in options if option not in self.known_options]
        if unknown:
            named = [f"{option}{nearest(option, self.known_options)}" for option in unknown]
            where = " (the options of a verb come after it)" if self.verb_names else ""
            self.error(f"unknown option: {', '.join(named)}{where}")
        if self.verb_names and len(words) < len(given) and given[len(words)] not in self.verb_names:
            verb = given[len(words)]
            valid = ", ".join(self.verb_names)
            self.error(f"unknown verb {verb!r}{nearest(verb, self.verb_names)}; there are: {valid}")


def one_of(names: Sequence[str]) -> Callable[[str], str]:
    """Return an argparse type that accepts ``names`` and suggests the nearest one."""
    expected = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))

    def check(text: str) -> str:
        if text not in names:
            message = f"expected {expected}, got {text!r}{nearest(text, names)}"
            raise argparse.ArgumentTypeError(message)
        return text

    return check


def whole_number(smallest: int) -> Callable[[str], int]:
    """Return an argparse type for whole numbers from ``smallest`` on."""

    def check(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < smallest:
            message = f"expected a whole number >= {smallest}, got {text!r}"
            raise argparse.ArgumentTypeError(message)
        return int(text)

    return check
