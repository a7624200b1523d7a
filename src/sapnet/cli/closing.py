"""What a whole run says at its end."""

from __future__ import annotations

from typing import Any


def closing_lines(figures: dict[str, Any]) -> tuple[str, ...]:
    """Say where the results of a whole run are, and its headline figures.

    Args:
        figures: What ``pipeline.run`` returned; a process that is not the first returns nothing.
    """
    if "headline" not in figures:
        return ()
    headline = figures["headline"]
    lines = [f"{name:<7} {figures[name]}" for name in ("report", "model")]
    lines.append(f"labels  {figures['labels']['out']} ({figures['labels']['labels']} masks)")
    overlaps = {
        "this run's picks": headline["mask_miou_selected"],
        "highest proposer score": headline["mask_miou_top_score"],
        "best proposal": headline["mask_miou_oracle"],
    }
    if headline["mask_miou_selected"] is not None:
        known = [f"{name} {value:.3f}" for name, value in overlaps.items() if value is not None]
        lines.append("mask mIoU of the labels: " + ", ".join(known))
    if headline["AP"] is not None:
        lines.append(
            f"segmenter on the validation images: AP {headline['AP']:.3f}, AP50 {headline['AP50']:.3f}"
        )
    return tuple(lines)
