"""From the frame of a source to ours: pixels of the upright picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sapnet.importers.records import Unit

Exif = Literal["auto", "upright", "stored"]
"""On which picture the clicks were made: as the declared size tells, turned by EXIF, or as stored."""
_QUARTER_TURNS = frozenset({5, 6, 7, 8})


@dataclass(frozen=True, slots=True)
class Frame:
    """The picture on which the clicks of an image were made. Sizes in pixels."""

    width: int
    """Of the upright picture."""
    height: int
    orientation: int = 1
    """EXIF orientation that was not applied when the clicks were made; 1: they fit the upright picture."""
    resized: bool = False
    """The source declares another size with the same sides' ratio: shares of the sides fit, pixels do not."""

    def to_upright(self, x: float, y: float, unit: Unit) -> tuple[float, float]:
        """Return a point in pixels of the upright picture.

        Args:
            x: Horizontal coordinate in the source's frame.
            y: Vertical coordinate in the source's frame.
            unit: Unit of both.
        """
        turned = self.orientation in _QUARTER_TURNS
        width, height = (self.height, self.width) if turned else (self.width, self.height)
        if unit != "pixel":
            whole = 100.0 if unit == "percent" else 1.0
            x, y = x / whole * width, y / whole * height
        if self.orientation in {2, 3, 7, 8}:
            x = width - x
        if self.orientation in {3, 4, 6, 7}:
            y = height - y
        return (y, x) if turned else (x, y)


def choose_frame(
    stored: tuple[int, int],
    orientation: int,
    declared: Sequence[tuple[int, int]],
    exif: Exif,
) -> tuple[Frame | None, str]:
    """Decide on which picture the clicks of an image were made.

    Args:
        stored: ``(height, width)`` of the file, before EXIF.
        orientation: Its EXIF orientation, 1 to 8.
        declared: ``(height, width)`` as the source declares them; empty where it says nothing.
        exif: What the user knows.

    Returns:
        The frame and why it is in doubt (or an empty text), or None and why there is none.
    """
    upright = stored[::-1] if orientation in _QUARTER_TURNS else stored
    on_upright, on_stored = Frame(upright[1], upright[0]), Frame(upright[1], upright[0], orientation)
    chosen = on_stored if exif == "stored" else on_upright
    expected = stored if exif == "stored" else upright
    if exif == "auto" and orientation != 1:
        if declared and all(size == stored != upright for size in declared):
            return on_stored, ""
        if not declared or (stored == upright and all(size == upright for size in declared)):
            return on_upright, (
                f"EXIF orientation {orientation} turns the picture, and nothing in the source tells whether "
                "the clicks were made on the turned one; taken as such (--exif upright or stored settles it)"
            )
    wrong = [size for size in declared if size != expected]
    if not wrong:
        return chosen, ""
    text = f"the source says {_sides(wrong[0])} pixels (width x height), the file has {_sides(upright)}"
    if stored != upright:
        text += f" ({_sides(stored)} before EXIF)"
    elif wrong[0] == upright[::-1]:
        text += "; width and height seem to be swapped"
    if all(_same_ratio(size, expected) for size in wrong):
        return Frame(chosen.width, chosen.height, chosen.orientation, resized=True), text
    return None, text


def _sides(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"


def _same_ratio(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Tell whether two sizes are one picture at two scales, up to the rounding of their sides."""
    return abs(first[0] * second[1] - first[1] * second[0]) <= max(first[1], second[1], first[0], second[0])
