"""Which kinds of proposals a row picked: with simulated bags, parts, wholes and groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sapnet.evaluation.bag_picks import BagSource
from sapnet.labels.picks import Pick, picked_only
from sapnet.proposals.simulated import GROUP, PART, WHOLE

KINDS = {"part": PART, "whole": WHOLE, "group": GROUP}
"""The kinds of simulated proposals by the name of their column."""


def picked_kinds(store: BagSource, picks: Mapping[int, Pick], image_ids: list[int]) -> dict[str, float]:
    """Count the kinds of the picked proposals of a simulated store.

    Args:
        store: What was picked from.
        picks: By annotation id; votes do not matter.
        image_ids: The images that count.

    Returns:
        Share of all picks by the name of the kind; empty without picks.
    """
    found: Counter[str] = Counter()
    for image_id in image_ids:
        if image_id in store:
            found.update(picked_only(store.of_image(image_id), picks).kinds)
    total = found.total()
    return {name: found[kind] / total for name, kind in KINDS.items()} if total else {}
