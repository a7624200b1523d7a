"""Settings of a row: the benchmark's with some changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sapnet.bench.rows import merged
from sapnet.config import Config


def with_changes(config: Config, changes: Mapping[str, Any]) -> Config:
    """Return settings with some changed, validated anew.

    Args:
        config: The settings.
        changes: Nested like a config file.
    """
    values = merged(json.loads(config.model_dump_json()), changes)
    return Config.model_validate_json(json.dumps(values))


def without_effect(config: Config) -> Config:
    """Return settings that train the same selection, with the defaults of what does not take part.

    Rows that differ only in such settings share one training. In ``selection-only`` mode these are the
    alternates, the agreement and the supervision, which are the segmentation branch's; what that branch and
    the pyramid start from, where regions are pooled from the backbone; box mining after the refine pass and
    the guidance of its picks, which choose but do not teach; and, where there is no refine pass, by which
    scores is picked, what would be generated around the pick, and box mining altogether. How proposals are
    made never takes part (a training names the store that it learned from), nor how a trained network
    labels.

    Args:
        config: Settings of a row.
    """
    plain, model = Config(), config.model
    changes: dict[str, Any] = {"proposals": plain.proposals, "labelling": plain.labelling}
    if config.training.mode == "selection-only":
        same = ["multi_mask", "agreement", "supervision"]
        refined = model.refinement.enabled
        if not (refined and model.box_mining.also_after_select):
            same.append("box_mining")
        if not refined:
            same += ["picking", "regions"]
        parts: dict[str, Any] = {name: getattr(plain.model, name) for name in same}
        if model.mil_head.features == "backbone":
            parts["solov2"] = model.solov2.model_copy(update={"weights": plain.model.solov2.weights})
        guide = plain.model.refinement.guide
        parts["refinement"] = model.refinement.model_copy(update={"guide": guide})
        if not refined:
            parts["refinement"] = plain.model.refinement.model_copy(update={"enabled": False})
        changes["model"] = model.model_copy(update=parts)
        warmup = {"selection_warmup_epochs": plain.training.selection_warmup_epochs}
        changes["training"] = config.training.model_copy(update=warmup)
    return config.model_copy(update=changes)
