"""The job behind ``sapnet points import``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sapnet.data.annotations import points_from_json
from sapnet.data.atomic import write_json_atomic
from sapnet.errors import DataError, InputError, nearest
from sapnet.importers.assemble import Assembled, assemble
from sapnet.importers.formats import FORMATS, detect
from sapnet.importers.frames import Exif
from sapnet.importers.records import Imported, Problem, ReaderOptions
from sapnet.importers.sources import read_json_value, shown, text_of

AUTO = "auto"


def import_points_file(
    source: Path | str,
    images: Path | str,
    out: Path | str,
    *,
    source_format: str = AUTO,
    options: ReaderOptions | None = None,
    class_name: str | None = None,
    class_map: Path | str | None = None,
    exif: Exif = "auto",
    strict: bool = False,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Make a points file from the file or folder of an annotation tool.

    Args:
        source: What the tool wrote.
        images: The folder of the images.
        out: Points file to write.
        source_format: A name in :data:`sapnet.importers.formats.FORMATS`, or ``auto``.
        options: What the format leaves open.
        class_name: The class of points that have none.
        class_map: JSON file ``{"name in the source": "name to use"}``.
        exif: On which picture the clicks were made.
        strict: Treat what is doubtful as wrong.
        skip_bad: Leave out what is wrong instead of refusing everything.

    Returns:
        ``out``, ``format``, ``detected``, counts of ``images``, ``points`` and ``classes``, the figures of
        :class:`~sapnet.importers.assemble.Assembled`, and sentences: ``left_out``, ``doubtful``, ``notes``.

    Raises:
        DataError: Something is wrong (all of it is listed) and ``skip_bad`` is not given, or nothing usable
            is left; nothing is written.
        JobError: The points file cannot be written.
    """
    source, images, out = Path(source), Path(images), Path(out)
    _check_arguments(source, images, out, source_format, strict=strict, skip_bad=skip_bad)
    renamed = {} if class_map is None else read_class_map(Path(class_map))
    name = detect(source) if source_format == AUTO else source_format
    imported = FORMATS[name].read(source, options or ReaderOptions())
    made = assemble(imported, images, class_name=class_name, class_map=renamed, exif=exif)
    wrong, doubtful = _judge(made.problems, strict=strict)
    if wrong and not skip_bad:
        raise DataError(str(source), [*wrong, *doubtful])
    _refuse_empty(source, imported, made, wrong)
    points_from_json(made.document, str(out))
    write_json_atomic(out, made.document)
    return {
        "out": str(out),
        "format": name,
        "detected": source_format == AUTO,
        **_counts(made.document),
        **made.figures,
        "left_out": wrong,
        "doubtful": doubtful,
        "notes": list(made.notes),
    }


def read_class_map(path: Path) -> dict[str, str]:
    """Read new names of classes.

    Raises:
        DataError: The file is no JSON object from texts to texts; every wrong entry is listed.
    """
    document = read_json_value(path)
    if not isinstance(document, dict):
        raise DataError(str(path), [f'expected an object {{"old name": "new name"}}, got {shown(document)}'])
    problems = [
        f"{key!r}: expected the new name of a class, got {shown(value)}"
        for key, value in document.items()
        if text_of(value) is None
    ]
    if problems:
        raise DataError(str(path), problems)
    return {key: value.strip() for key, value in document.items()}


def _check_arguments(
    source: Path, images: Path, out: Path, source_format: str, *, strict: bool, skip_bad: bool
) -> None:
    problems = []
    if not source.exists():
        siblings = [entry.name for entry in source.parent.iterdir()] if source.parent.is_dir() else []
        problems.append(f"{source}: there is no such file or folder{nearest(source.name, siblings)}")
    if not images.is_dir():
        problems.append(f"{images}: there is no such image folder")
    if source.exists() and out.exists() and source.samefile(out):
        problems.append(f"{out}: would be written over the source")
    if source_format != AUTO and source_format not in FORMATS:
        hint = nearest(source_format, FORMATS)
        problems.append(f"there is no format {source_format!r}{hint}; formats: {', '.join([AUTO, *FORMATS])}")
    if strict and skip_bad:
        problems.append(
            "strict (doubtful rows are errors) and skip_bad (errors are left out) exclude each other"
        )
    if problems:
        raise InputError("the arguments", problems)


def _judge(problems: Sequence[Problem], *, strict: bool) -> tuple[list[str], list[str]]:
    """Return what is wrong and what is doubtful, as sentences."""
    wrong = [str(problem) for problem in problems if not problem.doubtful]
    doubtful = [f"doubtful: {problem}" for problem in problems if problem.doubtful]
    return ([*wrong, *doubtful], []) if strict else (wrong, doubtful)


def _refuse_empty(source: Path, imported: Imported, made: Assembled, wrong: list[str]) -> None:
    """Refuse to write a file without points where only errors are the reason."""
    if made.document["annotations"] or not wrong:
        return
    if imported.points or imported.problems:
        raise DataError(str(source), [*wrong, "nothing is left to import"])


def _counts(document: Mapping[str, Any]) -> dict[str, Any]:
    clicks: dict[int, int] = {}
    for entry in document["annotations"]:
        clicks[entry["category_id"]] = clicks.get(entry["category_id"], 0) + 1
    with_clicks = {entry["image_id"] for entry in document["annotations"]}
    return {
        "images": len(document["images"]),
        "images_without_points": len(document["images"]) - len(with_clicks),
        "points": len(document["annotations"]),
        "classes": [
            {"id": item["id"], "name": item["name"], "points": clicks.get(item["id"], 0)}
            for item in document["categories"]
        ],
    }
