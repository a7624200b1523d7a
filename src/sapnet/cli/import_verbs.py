"""``sapnet points import``: the options, and what is said at the end."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sapnet.cli.verb_parser import VerbParser, one_of
from sapnet.cli.verbs import Outcome

FORMATS = (
    "auto",
    "label-studio",
    "cvat",
    "datumaro",
    "labelme",
    "via",
    "fiftyone",
    "point-sup",
    "make-sense",
    "authors",
    "coco",
    "coco-keypoints",
    "instances",
    "csv",
)
"""The names in ``sapnet.importers.formats``, kept here so that ``--help`` need not load it."""
UNITS = ("pixel", "percent", "fraction")
SEVERAL = ("each", "one")
ANNOTATIONS = ("latest", "all")
EXIF = ("auto", "upright", "stored")
_LISTED = 20


def add_import_options(parser: VerbParser, modes: tuple[str, ...]) -> None:
    """Add the options of ``sapnet points import`` to its parser.

    Args:
        parser: The verb's parser.
        modes: Where in a mask a point may lie.
    """
    parser.add_argument("source", type=Path, metavar="SOURCE", help="file or folder that the tool wrote")
    _choice(parser, "--from", FORMATS, "format of the source", "auto", dest="source_format", metavar="FORMAT")
    _choice(parser, "--unit", UNITS, "unit of the coordinates of a table (csv: needed)")
    _choice(
        parser,
        "--several",
        SEVERAL,
        "several points in one element: each an object, or one object (default: as usual in the format)",
    )
    parser.add_argument(
        "--shapes", action="store_true", help="also take centres of boxes and circles, and points on polygons"
    )
    parser.add_argument("--attribute", metavar="NAME", help="attribute that holds the class (VIA)")
    _choice(parser, "--annotations", ANNOTATIONS, "which of several annotations of one task count", "latest")
    _choice(parser, "--mode", modes, "where in a mask the point lies (instances)", "center")
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="class of points that have none")
    parser.add_argument(
        "--class-map", type=Path, metavar="FILE.json", help='new names of classes: {"old": "new", ...}'
    )
    _choice(
        parser,
        "--exif",
        EXIF,
        "clicks were made on the picture turned by EXIF, or as stored in the file",
        "auto",
    )
    parser.add_argument("--strict", action="store_true", help="what is doubtful is an error")
    parser.add_argument("--skip-bad", action="store_true", help="leave out what is wrong, list and count it")


def points_import(args: argparse.Namespace) -> Outcome:
    """``sapnet points import``: points from the files of annotation tools."""
    from sapnet import pipeline
    from sapnet.importers.records import ReaderOptions

    options = ReaderOptions(
        unit=args.unit,
        several=args.several,
        shapes=args.shapes,
        attribute=args.attribute,
        annotations=args.annotations,
        mode=args.mode,
        seed=0 if args.seed is None else args.seed,
    )
    figures = pipeline.import_points_file(
        source=args.source,
        images=args.images,
        out=args.out,
        source_format=args.source_format,
        options=options,
        class_name=args.class_name,
        class_map=args.class_map,
        exif=args.exif,
        strict=args.strict,
        skip_bad=args.skip_bad,
    )
    return Outcome(figures, closing=closing_lines(figures))


def closing_lines(figures: dict[str, Any]) -> tuple[str, ...]:
    """Return what an import says at its end.

    Args:
        figures: What :func:`sapnet.pipeline.import_points_file` returned.
    """
    found = "detected" if figures["detected"] else "read as"
    classes = ", ".join(f"{item['name']} {item['points']}" for item in figures["classes"][:_LISTED])
    more = ", ..." if len(figures["classes"]) > _LISTED else ""
    lines = [
        f"{found} {figures['format']}; images: {figures['images']} "
        f"({figures['images_without_points']} without points), points: {figures['points']}, "
        f"classes: {len(figures['classes'])}, unmatched images: {figures['images_unmatched']}",
        f"points per class: {classes}{more}" if classes else "",
        *(text.format(figures[key]) for key, text in _COUNTS.items() if figures[key]),
        *(f"note: {note}" for note in figures["notes"]),
        *figures["doubtful"],
        *(f"left out: {problem}" for problem in figures["left_out"]),
        f"wrote {figures['out']}",
    ]
    return tuple(filter(None, lines))


_COUNTS = {
    "extra_points": "extra points: {}",
    "negative_points": "negative points: {}",
    "ignore_regions": "regions to leave out of account: {}",
    "images_turned": "images clicked before EXIF turned them (their points were turned): {}",
    "points_moved_inside": "points on or just over the border that were moved inside: {}",
    "points_left_out": "points left out: {}",
    "images_not_in_source": "images of the folder that the source does not name (left out): {}",
}


def _choice(
    parser: VerbParser,
    name: str,
    names: tuple[str, ...],
    text: str,
    default: str | None = None,
    dest: str | None = None,
    metavar: str | None = None,
) -> None:
    shown = f"{text} (default: {default})" if default else text
    extra = {} if dest is None else {"dest": dest}
    if metavar is not None:
        shown += f": {', '.join(names)}"
    parser.add_argument(
        name, type=one_of(names), default=default, metavar=metavar or "|".join(names), help=shown, **extra
    )
