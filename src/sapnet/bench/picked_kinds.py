"""Which kinds of proposals a row picked: with simulated bags, parts, wholes and groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sapnet.evaluation.bag_picks import BagSource
from sapnet.labels.picks import Pick, label_masks

_PREFIX = "simulated-"


def picked_kinds(store: BagSource, picks: Mapping[int, Pick], image_ids: list[int]) -> dict[str, float]:
    """Count the kinds of the picked proposals.

    Args:
        store: What was picked from.
        picks: By annotation id; votes do not matter.
        image_ids: The images that count.

    Returns:
        Share of all picks by kind, without the name of the simulation; nothing without picks.
    """
    plain = {key: pick._replace(votes=()) for key, pick in picks.items()}
    found: Counter[str] = Counter()
    for image_id in image_ids:
        if image_id in store:
            kinds = label_masks(store.of_image(image_id), plain).kinds
            found.update(kind.removeprefix(_PREFIX) for kind in kinds)
    return {kind: count / found.total() for kind, count in sorted(found.items())}
