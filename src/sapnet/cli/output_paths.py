"""What a verb is told to write, looked at before any work: a mistyped ``--out`` must cost nothing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from sapnet.errors import InputError

_OUTPUTS = ("out", "draw", "export_json")
_ONE_FILE = ("points_sample", "points_import", "predict", "report", "convert_subset")
"""Verbs whose ``--out`` is one file, by the function that does them."""
_FOLDER = ("propose", "train", "run", "demo", "bench")
PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""Those of ``sapnet.inference.predict``, kept here so that a refusal need not load it."""
_WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".npy")
_RUN_FILES = ("model.json", "config.yaml", "environment.json", "metrics.jsonl", "manifest.json")
"""Files of a run or a store that no other verb can write again."""


def refuse_bad_outputs(args: argparse.Namespace) -> None:
    """Refuse to write over what was given to read, or where nothing can be written.

    Args:
        args: Of the command line.

    Raises:
        InputError: An output is an input, a photograph, weights or a part of a run; or a folder where a
            file is written (or the reverse); or its folder cannot be written. All problems are listed.
    """
    verb = getattr(args.command, "__name__", "")
    problems = []
    for name in _OUTPUTS:
        path = getattr(args, name, None)
        if path is not None:
            option = f"--{name.replace('_', '-')} {path}"
            found = _problem(path, _is_file(verb, name), list(_inputs(args)))
            problems += [f"{option}: {found}"] if found else []
    if problems:
        raise InputError("the command line", problems)


def _is_file(verb: str, name: str) -> bool | None:
    """Whether the verb writes one file there; None: the verb itself says, by the format that it writes."""
    if name != "out" or verb in _ONE_FILE:
        return name != "draw"
    return False if verb in _FOLDER else None


def _inputs(args: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Names and paths of what the verb reads."""
    for name, value in vars(args).items():
        if name not in _OUTPUTS:
            paths = value if isinstance(value, list | tuple) else [value]
            yield from ((name.replace("_", "-"), path) for path in paths if isinstance(path, Path))


def _problem(path: Path, is_file: bool | None, inputs: list[tuple[str, Path]]) -> str:
    """What keeps a path from being written; empty: nothing."""
    if path.is_file():
        for name, known in inputs:
            within = name == "source" and known.is_dir() and known.resolve() in path.resolve().parents
            # A source that is a file its verb tells of itself, with all else that is wrong.
            if within or (name != "source" and known.is_file() and path.samefile(known)):
                return f"would be written over the {name} given to read"
        kind = _precious(path)
        if kind and is_file is not False:
            return f"is {kind}, which would be lost; give another name or remove it first"
        if is_file is False:
            return "is a file, expected a folder"
    if path.is_dir() and is_file:
        return "is a folder, expected a file to write"
    above = next(place for place in (path.absolute(), *path.absolute().parents) if os.path.lexists(place))
    if above != path.absolute() and not above.is_dir():
        return f"cannot be written: {above} is a file"
    if not os.access(above, os.W_OK):
        return f"cannot be written: no permission to write {above}"
    return ""


def _precious(path: Path) -> str:
    if path.suffix.lower() in PHOTOGRAPHS:
        return "a picture"
    if path.suffix.lower() in _WEIGHTS:
        return "a file of weights or arrays"
    beside = {item.name for item in path.parent.iterdir()}
    belongs = beside & {"model.safetensors", "checkpoints", "proposals.bin"}
    return "a part of a run or a store" if path.name in _RUN_FILES and belongs else ""
