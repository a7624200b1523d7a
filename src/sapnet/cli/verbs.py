"""One function per verb: checks what needs no torch, then calls the pipeline.

``sapnet.pipeline`` is imported inside the calls, so that help, bad settings and missing files
answer at once.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapnet.cli.check_lines import check_lines, doctor_lines
from sapnet.cli.closing import closing_lines, proposal_lines
from sapnet.errors import ConfigError, InputError, nearest

if TYPE_CHECKING:
    from sapnet.config import Config

DEMO_SETTINGS = Path(__file__).resolve().parents[1] / "configs" / "demo.yaml"


@dataclass(frozen=True)
class Outcome:
    """What a verb found: JSON-able figures, text that is its product, and the exit code."""

    figures: Any
    text: str | None = None
    """Printed on stdout instead of the figures unless --json is given."""
    exit_code: int = 0
    closing: tuple[str, ...] = ()
    """Lines for people, instead of the list of figures."""


def points_sample(args: argparse.Namespace) -> Outcome:
    """``sapnet points sample``: one point per non-crowd instance."""
    require_existing(args, "instances")
    from sapnet import pipeline

    seed = 0 if args.seed is None else args.seed
    return Outcome(
        pipeline.sample_points_file(instances=args.instances, mode=args.mode, out=args.out, seed=seed)
    )


def points_check(args: argparse.Namespace) -> Outcome:
    """``sapnet points check``: all problems at once, exit code 2 if any."""
    require_existing(args, "points", "images")
    from sapnet import pipeline

    figures = pipeline.check_points_file(points=args.points, images=args.images)
    return Outcome(figures, exit_code=2 if figures.get("problems") else 0, closing=check_lines(figures))


def propose(args: argparse.Namespace) -> Outcome:
    """``sapnet propose``: fill a proposal store."""
    config = config_of(args, "points", "images", "instances", "import_json")
    if args.images is None and args.import_json is None:
        raise InputError("the command line", ["--images is needed, unless proposals come from --import-json"])
    from sapnet import pipeline

    figures = pipeline.propose(
        points=args.points,
        images=args.images,
        out=args.out,
        config=config,
        proposer=args.proposer,
        skip_bad=args.skip_bad,
        instances=args.instances,
        import_json=args.import_json,
        export_json=args.export_json,
        quiet=args.quiet,
    )
    return Outcome(figures, closing=proposal_lines(figures))


def train(args: argparse.Namespace) -> Outcome:
    """``sapnet train``: train on points and their proposals."""
    config = config_of(args, "points", "images", "proposals", "val_instances", "val_images")
    from sapnet import pipeline

    figures = pipeline.train(
        points=args.points,
        images=args.images,
        proposals=args.proposals,
        out=args.out,
        config=config,
        resume=args.resume,
        val_instances=args.val_instances,
        val_images=_validation_images(args),
        quiet=args.quiet,
        skip_bad=args.skip_bad,
    )
    return Outcome(figures)


def run(args: argparse.Namespace) -> Outcome:
    """``sapnet run``: propose, train, label, evaluate and report."""
    config = config_of(args, "points", "images", "instances", "val_instances", "val_images")
    from sapnet import pipeline

    figures = pipeline.run(
        points=args.points,
        images=args.images,
        out=args.out,
        config=config,
        instances=args.instances,
        val_instances=args.val_instances,
        val_images=_validation_images(args),
        resume=args.resume,
        quiet=args.quiet,
        skip_bad=args.skip_bad,
    )
    return Outcome(figures, closing=closing_lines(figures))


def demo(args: argparse.Namespace) -> Outcome:
    """``sapnet demo``: the whole method on drawn scenes, with the packaged settings unless -c is given."""
    if args.config is None:
        args.config = DEMO_SETTINGS
    config = config_of(args)
    from sapnet import pipeline

    figures = pipeline.demo(out=args.out, quiet=args.quiet, config=config)
    return Outcome(figures, closing=closing_lines(figures))


def label(args: argparse.Namespace) -> Outcome:
    """``sapnet label``: one mask per clicked object."""
    require_existing(args, "run", "points", "images", "proposals")
    from sapnet import pipeline
    from sapnet.cli.convert_verbs import export_options

    figures = pipeline.label(
        run=args.run,
        points=args.points,
        images=args.images,
        proposals=args.proposals,
        out=args.out,
        device=args.device or "auto",
        to=args.to,
        options=export_options(args),
        quiet=args.quiet,
        skip_bad=args.skip_bad,
    )
    return Outcome(figures)


def predict(args: argparse.Namespace) -> Outcome:
    """``sapnet predict``: segment new images."""
    require_existing(args, "model", "images")
    from sapnet import pipeline

    figures = pipeline.predict(
        model=args.model,
        images=args.images,
        out=args.out,
        draw=args.draw,
        device=args.device or "auto",
        quiet=args.quiet,
        skip_bad=args.skip_bad,
    )
    return Outcome(figures)


def evaluate(args: argparse.Namespace) -> Outcome:
    """``sapnet evaluate``: compare predictions or labels with ground truth."""
    problems = _missing_inputs(args, ("predictions", "labels", "instances", "proposals"))
    if (args.predictions is None) == (args.labels is None):
        problems.append("give either --predictions or --labels")
    if args.proposals is not None and args.labels is None:
        problems.append("--proposals goes with --labels")
    if problems:
        raise InputError("the command line", problems)
    from sapnet import pipeline

    figures = pipeline.evaluate(
        predictions=args.predictions,
        labels=args.labels,
        instances=args.instances,
        protocol=args.protocol,
        proposals=args.proposals,
    )
    return Outcome(figures)


def report(args: argparse.Namespace) -> Outcome:
    """``sapnet report``: one self-contained HTML file."""
    require_existing(args, "run", "points", "images", "instances")
    from sapnet import pipeline

    figures = pipeline.report(
        run=args.run, out=args.out, points=args.points, images=args.images, instances=args.instances
    )
    return Outcome(figures)


def config_show(args: argparse.Namespace) -> Outcome:
    """``sapnet config show``: all settings as YAML (or JSON) on stdout."""
    config = config_of(args)
    from sapnet.config_loader import dump_config

    return Outcome(config.model_dump(mode="json"), text=dump_config(config))


def config_check(args: argparse.Namespace) -> Outcome:
    """``sapnet config check``: exit code 2 and all problems if the settings are wrong."""
    config = config_of(args)
    from sapnet.config import Config
    from sapnet.config_loader import differences

    return Outcome({"valid": True, "changed": differences(config, Config())})


def doctor(args: argparse.Namespace) -> Outcome:
    """``sapnet doctor``: exit code 1 if something is missing or broken."""
    from sapnet.doctor import inspect_installation

    figures = inspect_installation()
    return Outcome(figures, exit_code=1 if figures["problems"] else 0, closing=doctor_lines(figures))


def config_of(args: argparse.Namespace, *inputs: str) -> Config:
    """Load the settings, with the options that are shorthands for settings laid over them.

    Problems of the settings and input paths that do not exist are reported together.
    """
    from sapnet.config_loader import load_config

    overrides = list(args.overrides)
    shorthands = {
        "seed": "seed",
        "device": "device",
        "proposer": "proposals.name",
        "checkpoint": "proposals.checkpoint",
    }
    for option, key in shorthands.items():
        value = getattr(args, option, None)
        if value is not None:
            overrides.append(f"{key}={json.dumps(value)}")
    missing = _missing_inputs(args, inputs)
    try:
        config = load_config(args.config, overrides)
    except ConfigError as error:
        if not missing:
            raise
        raise InputError(f"{error.subject} and the command line", [*error.problems, *missing]) from error
    if missing:
        raise InputError("the command line", missing)
    return config


def require_existing(args: argparse.Namespace, *inputs: str) -> None:
    """Refuse input paths that do not exist, all at once."""
    missing = _missing_inputs(args, inputs)
    if missing:
        raise InputError("the command line", missing)


def _missing_inputs(args: argparse.Namespace, inputs: Iterable[str]) -> list[str]:
    problems = []
    for name in inputs:
        given = getattr(args, name)
        for path in given if isinstance(given, list) else [given]:
            if path is not None and not path.exists():
                option = name if name in args.positional else f"--{name.replace('_', '-')}"
                problems.append(f"{option}: no such file or folder: {path}{_similar(path)}")
    if "val_images" in inputs and args.val_images is not None and args.val_instances is None:
        problems.append("--val-images needs --val-instances")
    return problems


def _similar(path: Path) -> str:
    parent = path.parent
    siblings: Iterable[Path] = parent.iterdir() if parent.is_dir() else ()
    return nearest(path.name, (entry.name for entry in siblings))


def _validation_images(args: argparse.Namespace) -> Path | None:
    """Return the folder of the validation images; without --val-images that of --images."""
    if args.val_instances is None:
        return None
    images: Path = args.images if args.val_images is None else args.val_images
    return images
