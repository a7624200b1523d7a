"""The jobs about points files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sapnet.data.annotations import load_instances, save_points
from sapnet.data.check import check_points
from sapnet.data.point_sampling import sample_points


def sample_points_file(instances: Path, mode: str, out: Path, seed: int) -> dict[str, Any]:
    """Draw one click per non-crowd instance (``sapnet points sample``).

    Args:
        instances: COCO instances file.
        mode: ``center``, ``quasi-center`` or ``random``.
        out: Points file to write.
        seed: Seed of the draws.

    Returns:
        Counts and the path.
    """
    points = sample_points(load_instances(instances), mode, seed)  # type: ignore[arg-type]
    save_points(points, out)
    return {"out": str(out), "mode": mode, "seed": seed, "images": len(points.images), "points": len(points)}


def check_points_file(points: Path, images: Path) -> dict[str, Any]:
    """Check a points file and its images (``sapnet points check``).

    Args:
        points: Points file.
        images: Image folder.

    Returns:
        ``problems``, ``warnings`` and ``notes`` (sentences), ``table`` (one row per kind of finding:
        ``kind``, ``severity``, ``count``, ``advice``, ``first``) and ``summary``.
    """
    found = check_points(points, images)
    return {
        "problems": list(found.problems),
        "warnings": list(found.warnings),
        "notes": list(found.notes),
        "table": found.table,
        "summary": found.summary,
    }
