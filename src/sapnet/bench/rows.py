"""What a row of a benchmark's table is: clicks, proposals, settings, and what is measured with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Source = Literal["simulated", "builtin", "regions", "ground-truth"]
"""Where the proposals of a row come from; simulated ones are drawn from ground truth."""

SOURCES = ("simulated", "builtin", "regions")
"""The sources that an experiment can be run with."""

Labels = Literal["top-score", "largest-alone", "oracle", "truth", "selection", "end-to-end"]
"""How the labels of a row are chosen: by a rule without a model, from ground truth, by a selection that
was trained without the segmentation branch, or by one that was trained end to end."""

Segmenter = Literal["none", "fixed", "end-to-end", "mask-rcnn"]
"""What AP is measured of: nothing; SOLOv2 trained on the row's labels; SOLOv2 trained end to end with
the row's settings; Mask R-CNN trained on the row's exported labels."""

SEGMENTER_SEEDS = 2
"""With how many seeds AP is measured where nothing else is said."""


@dataclass(frozen=True)
class Clicks:
    """Which clicks a row has, and what is wrong with them."""

    kind: Literal["given", "center", "random"] = "given"
    """given: the data set's quasi-centre points; center and random: drawn from its masks."""
    noise: float = 0.0
    """Standard deviation of a displacement in x and in y, as a share of the root of the box's area."""
    wrong_classes: float = 0.0
    """Share of clicks with another class of the data set than their own."""
    images: float = 1.0
    """Share of the images that were clicked; the sets of one seed are nested."""


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    label: str
    labels: Labels = "selection"
    segmenter: Segmenter = "none"
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ from the benchmark's, nested like a config file."""
    clicks: Clicks = Clicks()
    source: Source | None = None
    """None: the experiment's."""
    longer: int = 1
    """How many times the benchmark's epochs the segmenter trains for."""
    group: str = ""
    """Rows of a group are compared with the row above; every row is compared with the first."""


def merged(first: Mapping[str, Any], *others: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested settings; later ones win.

    Args:
        first: Nested like a config file.
        *others: The same.
    """
    result = dict(first)
    for other in others:
        for key, value in other.items():
            old = result.get(key)
            both = isinstance(old, Mapping) and isinstance(value, Mapping)
            result[key] = merged(old or {}, value) if both else value
    return result
