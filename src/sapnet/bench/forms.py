"""Settings of the paper's stages in the paper's form, the released code's and the default's, step by step.

Every step holds only what it changes, so that steps are merged one after the other (docs/adr/0005 lists
where the two forms differ, 0008 what the default has instead).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sapnet.bench.rows import merged
from sapnet.config import Config
from sapnet.config_loader import preset_values

Settings = Mapping[str, Any]

PAPER: Settings = preset_values("paper")
"""Every stage in the paper's form, on the benchmark's backbone, images and schedule."""

_OFF: dict[str, Any] = {
    "guidance": {"enabled": False},
    "refinement": {"enabled": False},
    "regions": {"positives": False, "negatives": False},
    "box_mining": {"enabled": False},
    "multi_mask": {"enabled": False},
    "agreement": {"exponent": 0.0},
}

SINGLE_MIL: Settings = merged(PAPER, {"model": _OFF})
"""The select pass alone, as in the first row of table 4."""

PAPER_LABELLING: Settings = {"labelling": PAPER["labelling"]}
"""Labels are the picks: one look at every image, the highest score."""

GUIDANCE: Settings = {"model": {"guidance": {"enabled": True}}}
REFINEMENT: Settings = {"model": {"refinement": {"enabled": True}}}
REGIONS: Settings = {"model": {"regions": {"positives": True, "negatives": True}}}
NO_OPINION: Settings = {"model": {"picking": {"opinion_exponent": 0.0}}}
BOX_MINING: Settings = {"model": {"box_mining": {"enabled": True}}}
MULTI_MASK: Settings = {"model": {"multi_mask": {"enabled": True}}}

RELEASED: Settings = {
    "model": {
        "mil_head": {"background_output": True},
        "guidance": {
            "overlap": "box-covers-point",
            "distance": "square-root",
            "exponent": 1 / 64,
            "apply_to": "logits",
        },
        "regions": {
            "scale_factors": [round(0.01 * step, 2) for step in range(1, 16)],
            "part_min_area": 4096.0,
        },
        "box_mining": {
            "candidate_order": "proposer-score",
            "containing_tolerance": 2.0,
            "also_after_select": True,
        },
    }
}
"""The released code's form of every stage where the settings offer it, over the paper's."""


def sections_of(config: Config, *names: str) -> dict[str, Any]:
    """Return sections of the model as some settings have them, for steps that lead back to these.

    Args:
        config: The benchmark's settings.
        *names: Of sections of ``model``.
    """
    values = config.model.model_dump(mode="json")
    return {"model": {name: values[name] for name in names}}
