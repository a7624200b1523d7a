"""The verbs of ``sapnet convert``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapnet.cli.verb_parser import VerbParser, one_of, whole_number
from sapnet.cli.verbs import Outcome, require_existing

if TYPE_CHECKING:
    from sapnet.exporters.export import ExportOptions

FORMATS = ("coco", "yolo", "labelme", "voc", "label-studio", "cvat")
SPLITS = ("train_aug", "train", "val", "trainval")


def add_convert_verbs(group: Any, add_verb: Callable[..., VerbParser]) -> None:
    """Add ``sapnet convert``; without a verb of its own it converts labels.

    Args:
        group: Where verbs are added.
        add_verb: Adds a verb with the options that every verb has.
    """
    about = "labels in other formats; VOC, SBD and subsets of COCO as instances"
    actions = group.add_parser("convert", help=about).add_verbs("ACTION", default="labels")
    labels = add_verb(
        actions,
        "labels",
        convert_labels,
        "labels, predictions or COCO instances in another format (the default)",
    )
    labels.add_argument("source", type=Path, metavar="FILE", help="labels, predictions or COCO instances")
    add_format_options(labels, "--to", None)
    labels.add_argument("--images", type=Path, metavar="DIR", help="folder of the images (yolo, labelme)")
    labels.add_argument(
        "--instances", type=Path, metavar="COCO.json", help="images and classes of a list of COCO results"
    )
    _out(labels, "OUT", "file to write, or folder where the format has many files")

    voc = add_verb(actions, "voc", convert_voc, "Pascal VOC 2012 and SBD as COCO instances")
    voc.add_argument("--root", type=Path, required=True, metavar="DIR", help="VOCdevkit/VOC2012")
    voc.add_argument("--sbd", type=Path, metavar="DIR", help="benchmark_RELEASE of SBD, for train_aug")
    _choice(
        voc, "--split", SPLITS, "images to take; train_aug: SBD and VOC train without VOC val", required=True
    )
    _out(voc, "instances.json", "COCO instances to write")

    subset = add_verb(actions, "subset", convert_subset, "some classes and images of a COCO file")
    subset.add_argument("source", type=Path, metavar="FILE", help="instances, points or labels")
    subset.add_argument("--classes", nargs="+", metavar="NAME", help="classes to keep (default: all)")
    subset.add_argument(
        "--num-images", type=whole_number(1), metavar="N", help="images to draw (default: all)"
    )
    subset.add_argument(
        "--keep-empty", action="store_true", help="keep images without an object of the classes"
    )
    _out(subset, "subset.json", "file to write")


def add_format_options(parser: VerbParser, name: str, default: str | None) -> None:
    """Add the format and what can be chosen about it.

    Args:
        parser: The verb's parser.
        name: Option that names the format.
        default: Format without the option; needed if None.
    """
    text = "format to write" if default is None else f"format to write (default: {default})"
    _choice(parser, name, FORMATS, text, default=default, required=default is None, dest="to")
    _choice(
        parser,
        "--segm",
        ("mask", "polygon"),
        "exact masks or polygons (coco, labelme, label-studio, cvat; default: mask, label-studio: polygon)",
        dest="shapes",
    )
    _choice(
        parser,
        "--parts",
        ("largest", "bridge", "split"),
        "objects of several parts: the largest, joined by seams, or an object each (yolo; default: bridge)",
    )
    parser.add_argument(
        "--void-rim", type=whole_number(0), metavar="PIXELS", help="void around outlines (voc; default: 0)"
    )
    parser.add_argument(
        "--sixteen-bit", action="store_true", help="object pictures for more than 254 objects (voc)"
    )
    parser.add_argument(
        "--image-url", metavar="PREFIX", help="address before file names (label-studio; default: local files)"
    )


def convert_labels(args: argparse.Namespace) -> Outcome:
    """``sapnet convert FILE --to FORMAT``: labels, predictions or instances in another format."""
    require_existing(args, "source", "images", "instances")
    from sapnet import pipeline

    figures = pipeline.convert_labels(
        source=args.source,
        to=args.to,
        out=args.out,
        images=args.images,
        instances=args.instances,
        options=export_options(args),
    )
    return Outcome(figures)


def convert_voc(args: argparse.Namespace) -> Outcome:
    """``sapnet convert voc``: Pascal VOC 2012 and SBD as COCO instances."""
    require_existing(args, "root", "sbd")
    from sapnet import pipeline

    figures = pipeline.convert_voc(
        root=args.root, split=args.split, out=args.out, sbd=args.sbd, quiet=args.quiet
    )
    return Outcome(figures)


def convert_subset(args: argparse.Namespace) -> Outcome:
    """``sapnet convert subset``: some classes and images of a COCO file."""
    require_existing(args, "source")
    from sapnet import pipeline

    figures = pipeline.convert_subset(
        source=args.source,
        out=args.out,
        classes=args.classes,
        num_images=args.num_images,
        keep_empty=args.keep_empty,
        seed=0 if args.seed is None else args.seed,
    )
    return Outcome(figures)


def export_options(args: argparse.Namespace) -> ExportOptions:
    """Collect what was chosen about the format."""
    from sapnet.exporters.export import ExportOptions

    return ExportOptions(
        shapes=args.shapes,
        parts=args.parts,
        void_rim=args.void_rim,
        sixteen_bit=True if args.sixteen_bit else None,
        image_url=args.image_url,
    )


def _choice(parser: VerbParser, name: str, names: tuple[str, ...], text: str, **settings: Any) -> None:
    parser.add_argument(name, type=one_of(names), metavar="|".join(names), help=text, **settings)


def _out(parser: VerbParser, metavar: str, text: str) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar=metavar, help=text)
