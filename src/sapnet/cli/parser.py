"""Builds the argument parser. Imports nothing heavy, so that ``--help`` is immediate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sapnet._version import __version__
from sapnet.cli import bench_verb, convert_verbs, import_verbs, verbs
from sapnet.cli.verb_parser import VerbParser, one_of, whole_number

DEVICES = ("auto", "cpu", "cuda", "mps")
PROPOSERS = ("regions", "builtin", "sam", "sam-hq", "sam2", "sam3", "edgetam")
SAMPLING_MODES = ("center", "quasi-center", "random")
PROTOCOLS = ("coco", "voc")

_OVERRIDES_HELP = (
    "settings: any number of section.key=value, for example training.epochs=6; they win over the file. "
    "'sapnet config show' lists all settings."
)


def build_parser() -> VerbParser:
    """Return the parser of ``sapnet`` with all its verbs."""
    parser = VerbParser(
        prog="sapnet",
        description="From one click per object to a trained instance segmenter.",
        epilog="'sapnet VERB --help' explains a verb. Exit codes: 0 done, 1 failed, 2 bad input, "
        "130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"sapnet {__version__}")
    group = parser.add_verbs("VERB")
    _add_data_verbs(group)
    _add_training_verbs(group)
    _add_result_verbs(group)
    _add_other_verbs(group)
    return parser


def _add_data_verbs(group: Any) -> None:
    points = group.add_parser("points", help="make and check points files").add_verbs("ACTION")
    sample = _verb(points, "sample", verbs.points_sample, "draw one point per non-crowd instance")
    _input(sample, "--instances", "COCO.json", "instances with masks")
    sample.add_argument(
        "--mode",
        type=one_of(SAMPLING_MODES),
        default="quasi-center",
        metavar="|".join(SAMPLING_MODES),
        help="where the point lies (default: quasi-center)",
    )
    _output(sample, "points.json", "points file to write")
    imported = _verb(
        points, "import", import_verbs.points_import, "make a points file from an annotation tool's"
    )
    import_verbs.add_import_options(imported, SAMPLING_MODES)
    _input(imported, "--images", "DIR", "folder of the images")
    _output(imported, "points.json", "points file to write")
    check = _verb(
        points, "check", verbs.points_check, "list all problems of a points file; exit code 2 if any"
    )
    _input(check, "points", "points.json", "points file")
    _input(check, "--images", "DIR", "folder of the images")

    propose = _verb(group, "propose", verbs.propose, "fill a store with mask proposals for every point", True)
    _input(propose, "--points", "points.json", "points file")
    _input(propose, "--images", "DIR", "folder of the images; not needed with --import-json", False)
    _proposer(propose)
    _input(propose, "--import-json", "FILE", "take the proposals from a file of SAPNet's authors", False)
    propose.add_argument("--export-json", type=Path, metavar="FILE", help="also write such a file")
    _input(propose, "--instances", "gt.json", "ground truth, only to report the quality of the bags", False)
    _output(propose, "DIR", "store to write; an unfinished one is continued")
    _skip_bad(propose)

    convert_verbs.add_convert_verbs(group, _verb)


def _add_training_verbs(group: Any) -> None:
    train = _verb(group, "train", verbs.train, "train on points and their proposals", True)
    _points_and_images(train)
    _input(train, "--proposals", "DIR", "proposal store")
    _output(train, "RUN", "run folder to write")
    _validation(train)
    _resume(train)
    _skip_bad(train)

    run = _verb(group, "run", verbs.run, "propose, train, label, evaluate and report in one go", True)
    _points_and_images(run)
    _output(run, "DIR", "run folder to write")
    _proposer(run)
    _input(run, "--instances", "gt.json", "ground truth of the images, only to evaluate the labels", False)
    _validation(run)
    _resume(run)
    _skip_bad(run)

    bench = _verb(group, "bench", bench_verb.bench, "baselines of the paper's tables on one data set", True)
    bench_verb.add_bench_options(bench)

    demo = _verb(group, "demo", verbs.demo, "the whole method on drawn scenes, without data or network", True)
    demo.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="folder to write (default: demo)"
    )


def _add_result_verbs(group: Any) -> None:
    label = _verb(group, "label", verbs.label, "write one mask per clicked object")
    _input(label, "--run", "RUN", "run folder of a trained model")
    _points_and_images(label)
    _input(label, "--proposals", "DIR", "proposal store")
    _output(label, "OUT", "label file to write, or folder where the format has many files")
    convert_verbs.add_format_options(label, "--format", "coco")
    _skip_bad(label)

    predict = _verb(group, "predict", verbs.predict, "segment new images")
    _input(predict, "--model", "RUN_OR_FILE", "run folder or model file")
    predict.add_argument("images", nargs="+", type=Path, metavar="IMAGES", help="image files or folders")
    _output(predict, "preds.json", "COCO instances with scores to write")
    predict.add_argument("--draw", type=Path, metavar="DIR", help="also draw the instances into this folder")
    _skip_bad(predict)

    evaluate = _verb(group, "evaluate", verbs.evaluate, "compare predictions or labels with ground truth")
    _input(evaluate, "--predictions", "preds.json", "predictions of 'sapnet predict'", False)
    _input(evaluate, "--labels", "labels.json", "labels of 'sapnet label'", False)
    _input(evaluate, "--instances", "gt.json", "ground truth")
    evaluate.add_argument(
        "--protocol",
        type=one_of(PROTOCOLS),
        default="coco",
        metavar="|".join(PROTOCOLS),
        help="protocol for predictions (default: coco)",
    )
    _input(evaluate, "--proposals", "DIR", "with --labels: store for SAM-top1 and the best proposal", False)

    report = _verb(group, "report", verbs.report, "write one self-contained HTML file")
    _input(report, "run", "RUN_OR_BENCH", "folder of a run or of a benchmark, or a proposal store")
    _input(report, "--points", "points.json", "of a store: the points file it was made from", False)
    _input(report, "--images", "DIR", "of a store: the folder of its images", False)
    _input(report, "--instances", "gt.json", "of a store: ground truth, to show overlaps", False)
    _output(report, "report.html", "file to write")


def _add_other_verbs(group: Any) -> None:
    config = group.add_parser("config", help="show or check settings").add_verbs("ACTION")
    _verb(config, "show", verbs.config_show, "print all settings as YAML", True)
    _verb(
        config, "check", verbs.config_check, "list all problems of a settings file; exit code 2 if any", True
    )
    _verb(group, "doctor", verbs.doctor, "look at the installation, the devices, and what works offline")


def _verb(
    group: Any, name: str, command: Callable[..., Any], summary: str, with_settings: bool = False
) -> VerbParser:
    """Add a verb with the options that every verb has."""
    parser: VerbParser = group.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=_OVERRIDES_HELP if with_settings else None,
        with_overrides=with_settings,
    )
    parser.set_defaults(command=command, positional=())
    if with_settings:
        parser.add_argument(
            "-c", "--config", type=Path, metavar="FILE.yaml", help="what differs from the defaults"
        )
    parser.add_argument(
        "--seed", type=whole_number(0), metavar="N", help="seed of everything drawn at random"
    )
    parser.add_argument(
        "--device", type=one_of(DEVICES), metavar="|".join(DEVICES), help="where networks run (default: auto)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON on stdout")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def _input(parser: VerbParser, name: str, metavar: str, text: str, required: bool = True) -> None:
    """Add the path of something that must exist."""
    needed = {"required": required} if name.startswith("--") else {}
    parser.add_argument(name, type=Path, metavar=metavar, help=text, **needed)


def _output(parser: VerbParser, metavar: str, text: str) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar=metavar, help=text)


def _points_and_images(parser: VerbParser) -> None:
    _input(parser, "--points", "points.json", "points file")
    _input(parser, "--images", "DIR", "folder of the images")


def _proposer(parser: VerbParser) -> None:
    parser.add_argument(
        "--proposer",
        type=one_of(PROPOSERS),
        metavar="|".join(PROPOSERS),
        help="proposer (default: proposals.name)",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="PATH_OR_HUB_ID",
        help="weights of a SAM: folder, .pth file or id on the hub (default: proposals.checkpoint)",
    )


def _validation(parser: VerbParser) -> None:
    _input(parser, "--val-instances", "COCO.json", "ground truth to measure AP on", False)
    _input(parser, "--val-images", "DIR", "folder of its images (default: the folder of --images)", False)


def _resume(parser: VerbParser) -> None:
    parser.add_argument(
        "--resume", action="store_true", help="continue an interrupted run to the same result"
    )


def _skip_bad(parser: VerbParser) -> None:
    parser.add_argument("--skip-bad", action="store_true", help="skip and count images that cannot be read")
