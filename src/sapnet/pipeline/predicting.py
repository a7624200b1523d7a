"""The job that segments new images with a trained model: predict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Literal

from sapnet.build import build_postprocess
from sapnet.config import Config
from sapnet.data.atomic import write_bytes_atomic, write_json_items_atomic
from sapnet.data.images import image_size, read_image
from sapnet.data.journal import Journal, unfinished_path
from sapnet.engine.devices import device_of
from sapnet.engine.job_identity import job_identity
from sapnet.engine.trained import load_segmenter
from sapnet.engine.validation import prediction_dataset
from sapnet.errors import DataError
from sapnet.inference.predict import coco_results, list_images, predict_images
from sapnet.models.sapnet import SapNet
from sapnet.progress import Progress
from sapnet.visualize import draw_instances, encode_picture

_ADVICE = "--skip-bad leaves such images out"


def predict(
    model: Path,
    images: Sequence[Path],
    out: Path,
    *,
    draw: Path | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    quiet: bool = False,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Segment new images (``sapnet predict``).

    What is found is kept in ``OUT.unfinished`` until all of it is written; the same call goes on from there.

    Args:
        model: Run folder or model file.
        images: Image files and folders of images.
        out: COCO instances with scores to write: images (numbered from 1), categories, annotations.
        draw: Folder for pictures with the instances drawn in.
        device: Where to compute.
        quiet: Show no progress.
        skip_bad: Leave out unreadable images.

    Returns:
        Counts and the path.

    Raises:
        DataError: Images cannot be read and ``skip_bad`` is off. Where their headers tell, before anything
            is computed.
        JobError: A file cannot be written; what was found is kept.
    """
    network, card = load_segmenter(Path(model))
    paths = list_images([Path(item) for item in images])
    if not skip_bad:
        _refuse_unreadable(paths)
    config = card.config.model_copy(update={"device": device})
    category_ids = [identifier for identifier, _ in card.categories]
    names = [str(path) for path in paths]
    identity = job_identity(network, config, device_of(config), names=names, folder=Path(), digests={})
    with Journal(unfinished_path(Path(out)), identity) as found:
        problems = _find(network, config, category_ids, paths, found, quiet=quiet)
        if problems and not skip_bad:
            kept = f"{len(found)} images are finished and kept in {found.path}"
            raise DataError("the images to predict", [*problems, _ADVICE, *([kept] if len(found) else [])])
        for problem in problems:
            Progress(0, "notice", quiet=quiet).message(f"left out: {problem}")
        if draw is not None:
            _draw(found, paths, Path(draw), dict(card.categories), quiet=quiet)
        numbers = count(1)
        document = {
            "images": _entries(found, names),
            "categories": [{"id": identifier, "name": name} for identifier, name in card.categories],
            "annotations": ({"id": next(numbers), **item} for item in _results(found)),
        }
        write_json_items_atomic(out, document)
        found.remove()
    instances = next(numbers) - 1
    return {"out": str(out), "images": len(found), "skipped": len(problems), "instances": instances}


def _refuse_unreadable(paths: Sequence[Path]) -> None:
    """Look at the headers of all images before the first one costs time."""
    problems: list[str] = []
    for path in paths:
        try:
            image_size(path)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError("the images to predict", [*problems, _ADVICE])


def _find(
    network: SapNet,
    config: Config,
    category_ids: Sequence[int],
    paths: Sequence[Path],
    found: Journal,
    *,
    quiet: bool,
) -> list[str]:
    """Predict the images that the journal does not have; return why others cannot be read."""
    left = [row for row in range(len(paths)) if row + 1 not in found]
    predicted = predict_images(
        network,
        prediction_dataset(paths, config),
        build_postprocess(config),
        size_divisor=config.data.size_divisor,
        device=device_of(config),
        quiet=quiet,
        rows=left,
    )
    problems = []
    for row, image in zip(left, predicted, strict=True):
        if image.instances is None:
            problems.append(image.problem)
            continue
        results = coco_results(image.instances, row + 1, category_ids)
        found.add(row + 1, {"size": list(image.instances.image_size), "results": results})
    return problems


def _entries(found: Journal, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for number, content in found.items():
        height, width = content["size"]
        yield {"id": number, "file_name": names[number - 1], "width": width, "height": height}


def _results(found: Journal) -> Iterator[dict[str, Any]]:
    for _, content in found.items():
        yield from content["results"]


def _draw(found: Journal, paths: Sequence[Path], folder: Path, names: dict[int, str], *, quiet: bool) -> None:
    with Progress(len(found), "draw", quiet=quiet) as progress:
        for number, content in found.items():
            path = paths[number - 1]
            picture = draw_instances(read_image(path), content["results"], names)
            write_bytes_atomic(folder / f"{number:06d}_{path.stem}.jpg", encode_picture(picture))
            progress.advance(1)
