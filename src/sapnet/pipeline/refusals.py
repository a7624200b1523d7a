"""Clicks and images that do not fit, refused before anything is computed or written."""

from __future__ import annotations

from pathlib import Path

from sapnet.data.annotations import PointSet, load_points
from sapnet.data.check import check_points
from sapnet.data.check_clicks import positions
from sapnet.errors import DataError

_FORGIVEN = ("image missing", "image unreadable", "image of another size")
"""What ``--skip-bad`` leaves out; clicks that are wrong it does not forgive."""


def refuse_bad_images(points: Path, images: Path, *, skip_bad: bool = False) -> None:
    """Refuse clicks and images that do not fit, all problems at once, before anything is written.

    Args:
        points: Points file.
        images: Image folder. Only the headers of the images are read.
        skip_bad: Forgive images that are missing, unreadable or of another size, unless all are.

    Raises:
        DataError: Images are missing, unreadable or of another size, or clicks lie outside.
    """
    found = check_points(points, images, decode_images=False)
    if not skip_bad:
        if found.problems:
            advice = "--skip-bad leaves out images that cannot be read"
            raise DataError(str(images), [*found.problems, advice])
        return
    bad = [finding.text for finding in found.findings if finding.kind in _FORGIVEN]
    problems = [text for text in found.problems if text not in set(bad)]
    # Of a damaged file nobody knows how many images there are.
    if bad and found.summary and len(bad) >= found.summary["images"]:
        problems += [*bad, "no image is left"]
    if problems:
        raise DataError(str(images), problems)


def load_clicks(points: Path, images: Path | None, *, skip_bad: bool = False) -> PointSet:
    """Load a points file; where it is damaged, say what is wrong with its images and clicks as well.

    Args:
        points: Points file.
        images: Image folder; None: nothing is looked at there.
        skip_bad: As for :func:`refuse_bad_images`.

    Raises:
        DataError: The file cannot be loaded; lists every problem.
    """
    try:
        return load_points(points)
    except DataError:
        if images is not None:
            refuse_bad_images(points, images, skip_bad=skip_bad)
        raise


def refuse_clicks_outside(points: PointSet, source: Path) -> None:
    """Refuse clicks that are not in their image.

    Args:
        points: The clicks.
        source: Their file, for the message.

    Raises:
        DataError: There are such clicks; all of them are listed.
    """
    problems = [finding.text for finding in positions(points) if finding.kind == "point outside"]
    if problems:
        raise DataError(str(source), problems)
