"""The jobs that tell what came out: evaluate, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from sapnet.config import Config
from sapnet.errors import InputError
from sapnet.evaluation.coco_ap import evaluate_coco
from sapnet.evaluation.label_quality import evaluate_labels
from sapnet.evaluation.voc_ap import evaluate_voc
from sapnet.proposals.store import ProposalStore
from sapnet.report import write_report


def evaluate(
    instances: Path,
    *,
    predictions: Path | None = None,
    labels: Path | None = None,
    protocol: Literal["coco", "voc"] = "coco",
    proposals: Path | None = None,
) -> dict[str, Any]:
    """Compare predictions or labels with ground truth (``sapnet evaluate``).

    Args:
        instances: Ground truth.
        predictions: COCO results.
        labels: Label file.
        protocol: For predictions: ``coco`` or ``voc``.
        proposals: For labels: the store they were picked from, to measure the rules without a model.

    Returns:
        The figures.
    """
    if (predictions is None) == (labels is None):
        raise InputError("the arguments", ["give either predictions or labels"])
    if predictions is not None:
        return (evaluate_coco if protocol == "coco" else evaluate_voc)(predictions, instances)
    store = None if proposals is None else ProposalStore.open(proposals)
    return evaluate_labels(str(labels), instances, store)


def report(
    run: Path,
    out: Path,
    *,
    points: Path | None = None,
    images: Path | None = None,
    instances: Path | None = None,
) -> dict[str, Any]:
    """Write the HTML report of a run, a benchmark or a proposal store (``sapnet report``).

    Args:
        run: Run or benchmark folder, or proposal store.
        out: HTML file.
        points: Of a store: the points file it was made from.
        images: Of a store: the folder of its images.
        instances: Of a store: ground truth, if overlaps are to be shown.

    Returns:
        The path.
    """
    places = {
        name: None if path is None else Path(path)
        for name, path in (("points", points), ("images", images), ("instances", instances))
    }
    written = write_report(run, out, default_settings=Config().model_dump(mode="json"), **places)
    return {"out": str(written)}
