"""HTML that cannot be forgotten to be escaped: whatever is not ``Markup`` is text."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

_WITHOUT_END = frozenset({"br", "img", "meta", "link", "rect", "line", "circle", "polyline", "path"})


NOTHING = "\N{EN DASH}"
"""Stands where there is no figure."""


class Markup(str):
    """Finished HTML, made only by the functions of this module."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Return a value as escaped text; ``Markup`` stays as it is."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value), quote=True))


def join(parts: Iterable[object]) -> Markup:
    """Return parts one after the other; those that are not ``Markup`` are escaped."""
    return Markup("".join(text(part) for part in parts))


def tag(element: str, /, *children: object, **attributes: Any) -> Markup:
    """Build an element.

    Args:
        element: Its name.
        *children: Text (escaped), ``Markup``, or None (left out).
        **attributes: ``class_`` is class, an inner ``_`` is ``-``; None and False are left out and
            True stands alone.
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if element in _WITHOUT_END and not children:
        return Markup(f"<{element}{written}/>")
    inside = join(child for child in children if child is not None)
    return Markup(f"<{element}{written}>{inside}</{element}>")


def table(
    caption: str, header: Sequence[object], rows: Sequence[Sequence[object]], *, note: str | None = None
) -> Markup:
    """Build a table whose first column names the rows; figures are set flush right.

    Args:
        caption: What the table shows.
        header: Column names.
        rows: Cells; the first of each row is its name.
        note: A line below.
    """
    head = tag("tr", *(tag("th", name, scope="col") for name in header))
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(tag("td", NOTHING if cell is None else cell) for cell in row[1:]),
        )
        for row in rows
    ]
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    # A wide table scrolls in its own box, which then must be reachable by keyboard.
    box = tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)
    return join([box, tag("p", note, class_="note") if note else ""])


def section(identifier: str, title: str, *children: object) -> Markup:
    """Build a section that the navigation can point to."""
    heading = tag("h2", title, id=f"{identifier}-title")
    return tag("section", heading, *children, id=identifier, aria_labelledby=f"{identifier}-title")


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction in percent without the sign, a dash where it is None."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}"
