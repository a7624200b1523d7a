"""Clicks as an object that knows its file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, get_args

from sapnet.api.arguments import AnyPath, existing, refuse_unknown
from sapnet.api.process_state import in_python_words
from sapnet.data.annotations import PointSet, save_points
from sapnet.data.annotations import load_points as read_points
from sapnet.errors import DataError
from sapnet.importers.frames import Exif
from sapnet.importers.records import Mode, ReaderOptions, Several, Unit

_Stamp = tuple[int, int]


@dataclass(frozen=True, eq=False, kw_only=True)
class Points(PointSet):
    """The clicks of a file, one per object; everything that takes a points file takes this too.

    ``xy`` is (N, 2) in pixels of the EXIF-transposed images, origin at the top-left corner of the
    top-left pixel; ``annotation_labels`` (N,) are 0..K-1 in the order of ``categories``.
    """

    path: Path
    """The file."""
    stamp: _Stamp
    """Time of change and size of the file when it was read."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What the verb that made it prints with ``--json``."""

    def __fspath__(self) -> str:
        """Return the path of the file.

        Raises:
            DataError: The file has been changed or removed since it was read.
        """
        if _stamp_of(self.path) != self.stamp:
            raise DataError(str(self.path), ["has changed since it was loaded; load it again"])
        return os.fspath(self.path)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in label order."""
        return tuple(item.name for item in self.categories)

    def save(self, path: AnyPath) -> Points:
        """Write the clicks to another file, atomically.

        Args:
            path: The file.

        Returns:
            The clicks of that file.

        Raises:
            JobError: It cannot be written.
        """
        save_points(self, path)
        return load_points(path)

    def __repr__(self) -> str:
        classes = f"{len(self.categories)} classes"
        return f"<Points {str(self.path)!r}: {len(self)} clicks, {len(self.images)} images, {classes}>"


def load_points(path: AnyPath) -> Points:
    """Read a points file.

    Args:
        path: COCO-shaped JSON with a ``point`` per annotation.

    Returns:
        The clicks. Whether they lie in their images is for :func:`check_points` to say.

    Raises:
        DataError: The file is missing, no JSON or not in the format; lists every problem.
    """
    path = Path(path)
    stamp = _stamp_of(path)
    found = read_points(path)
    columns = {column.name: getattr(found, column.name) for column in fields(PointSet)}
    return Points(**columns, path=path.absolute(), stamp=stamp)


def sample_points(
    instances: AnyPath,
    *,
    out: AnyPath,
    mode: Mode = "quasi-center",
    seed: int = 0,
) -> Points:
    """Draw one click per non-crowd instance (``sapnet points sample``).

    Args:
        instances: COCO instances file.
        out: Points file to write.
        mode: Where the click lies.
        seed: Seed of the draws.

    Returns:
        The clicks.

    Raises:
        InputError: The file or the mode is wrong.
        JobError: ``out`` cannot be written.
    """
    from sapnet import pipeline

    with in_python_words():
        refuse_unknown(mode=(mode, get_args(Mode)))
        figures = pipeline.sample_points_file(Path(instances), mode, Path(out), seed)
        return replace(load_points(out), figures=figures)


class ReaderChoices(TypedDict, total=False):
    """What a format may leave open; a format ignores what does not concern it."""

    unit: Unit
    """Unit of the coordinates of a table; needed for CSV."""
    several: Several
    """Several points in one element: ``each`` an object, or ``one`` object."""
    shapes: bool
    """Also take centres of boxes and circles, and points on polygons."""
    attribute: str
    """The attribute that holds the class (VIA)."""
    annotations: Literal["latest", "all"]
    """Which of several annotations of one task count."""
    mode: Mode
    """Where in a mask the point lies, for sources that have masks."""
    seed: int
    """Seed of the modes that draw at random."""


def import_points(
    source: AnyPath,
    images: AnyPath,
    *,
    out: AnyPath,
    source_format: str = "auto",
    class_name: str | None = None,
    class_map: AnyPath | None = None,
    exif: Exif = "auto",
    strict: bool = False,
    skip_bad: bool = False,
    **choices: Unpack[ReaderChoices],
) -> Points:
    """Make points from the file or folder of an annotation tool (``sapnet points import``).

    Args:
        source: What the tool wrote.
        images: Image folder.
        out: Points file to write.
        source_format: Name of the format, as ``sapnet points import --help`` lists them.
        class_name: Class of points that have none.
        class_map: JSON file with new names of classes.
        exif: Clicks were made on the picture turned by EXIF (``upright``) or as ``stored``.
        strict: What is doubtful is an error.
        skip_bad: Leave out what is wrong; ``figures["left_out"]`` lists it.
        choices: ``unit`` (needed for CSV), ``several``, ``shapes``, ``attribute``, ``annotations``,
            ``mode`` and ``seed``, as :class:`ReaderChoices` explains them.

    Returns:
        The clicks; ``figures`` says what was found, doubtful and left out.

    Raises:
        InputError: Something is wrong; ``problems`` lists everything, nothing is written.
        JobError: ``out`` cannot be written.
    """
    from sapnet import pipeline

    with in_python_words():
        refuse_unknown(exif=(exif, get_args(Exif)), **_known_words(choices))
        figures = pipeline.import_points_file(
            Path(source),
            Path(images),
            Path(out),
            source_format=source_format,
            options=ReaderOptions(**choices),
            class_name=class_name,
            class_map=None if class_map is None else Path(class_map),
            exif=exif,
            strict=strict,
            skip_bad=skip_bad,
        )
        return replace(load_points(out), figures=figures)


def _known_words(choices: ReaderChoices) -> dict[str, tuple[Any, tuple[str, ...]]]:
    known = {"unit": Unit, "several": Several, "annotations": Literal["latest", "all"], "mode": Mode}
    return {name: (choices.get(name), get_args(words)) for name, words in known.items()}


def check_points(points: AnyPath, images: AnyPath) -> dict[str, Any]:
    """Look for everything that is wrong with a points file and its images (``sapnet points check``).

    Args:
        points: Points or points file.
        images: Image folder.

    Returns:
        ``problems``, ``warnings`` and ``notes`` (lists of sentences) and ``summary``.

    Raises:
        InputError: The file cannot be read at all.
    """
    from sapnet import pipeline

    with in_python_words():
        given: Mapping[str, Any] = existing(points=points, images=images)
        return pipeline.check_points_file(given["points"], given["images"])


def _stamp_of(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)  # reading it will say what is wrong
    return status.st_mtime_ns, status.st_size
