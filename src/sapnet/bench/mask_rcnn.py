"""torchvision's Mask R-CNN on the backbone of the settings."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from sapnet.config import Config
from sapnet.data.rle import encode_mask
from sapnet.models.backbone import Backbone

_ANCHOR_SIZES = ((16,), (32,), (64,), (128,), (256,))
"""Half of torchvision's: images are brought to about half of its 800 pixels."""
_MASK_THRESHOLD = 0.5
_PROPOSED_REGIONS = 500
"""Regions per image that reach the heads (torchvision: 2000 and 1000)."""
_SAMPLED_REGIONS = 128
"""Regions per image that teach the heads (torchvision: 512)."""


class _PyramidBackbone(nn.Module):
    """The stages of a backbone under a feature pyramid, in the form that torchvision's detectors take."""

    def __init__(self, stages: Backbone, channels: int) -> None:
        super().__init__()
        self.stages = stages
        self.pyramid = FeaturePyramidNetwork(list(stages.channels), channels, LastLevelMaxPool())
        self.out_channels = channels

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Tensor]:
        features = OrderedDict((str(level), maps) for level, maps in enumerate(self.stages(images)))
        found: dict[str, Tensor] = self.pyramid(features)
        return found


class RatedParts(nn.Module):
    """A detector's parameters as ``engine.optimizer`` parts them: the backbone's stages, and the rest.

    Args:
        model: What ``build_mask_rcnn`` returned.
    """

    def __init__(self, model: MaskRCNN) -> None:
        super().__init__()
        self.backbone = model.backbone.stages
        self.detector = model


def build_mask_rcnn(config: Config, *, num_classes: int) -> MaskRCNN:
    """Build the network; all but the backbone is random.

    Args:
        config: ``model.backbone``, ``model.pyramid.channels`` and ``data`` are read.
        num_classes: K, without the background.

    Returns:
        The network on the CPU. It resizes and normalises images itself, at test size in evaluation mode.

    Raises:
        ConfigError: Settings that the backbone does not support.
        CheckpointError: Backbone weights that cannot be loaded.
    """
    section, data = config.model.backbone, config.data
    backbone = Backbone(
        section.name,
        weights=section.weights,
        frozen_stages=section.frozen_stages,
        freeze_batch_norm=section.freeze_batch_norm,
    )
    ratios = ((0.5, 1.0, 2.0),) * len(_ANCHOR_SIZES)
    return MaskRCNN(
        _PyramidBackbone(backbone, config.model.pyramid.channels),
        num_classes=num_classes + 1,
        # In evaluation torchvision takes the last of the short sides.
        min_size=(*data.train_short_sides, data.test_short_side),
        max_size=data.max_long_side,
        image_mean=list(data.mean),
        image_std=list(data.std),
        rpn_anchor_generator=AnchorGenerator(_ANCHOR_SIZES, ratios),
        box_batch_size_per_image=_SAMPLED_REGIONS,
        rpn_post_nms_top_n_train=_PROPOSED_REGIONS,
        rpn_post_nms_top_n_test=_PROPOSED_REGIONS,
    )


@torch.no_grad()
def segment_image(
    model: MaskRCNN,
    image: UInt8[ndarray, "H W 3"],
    image_id: int,
    category_ids: Sequence[int],
    *,
    device: torch.device,
) -> list[dict[str, Any]]:
    """Segment one image.

    Args:
        model: In evaluation mode, on ``device``.
        image: RGB, original frame.
        image_id: Its id.
        category_ids: Category id of every label.
        device: Where to compute.

    Returns:
        COCO results in the original frame, best first.
    """
    pixels = torch.from_numpy(image).permute(2, 0, 1).float().to(device) / 255
    (found,) = model([pixels])
    results = []
    for mask, score, label in zip(found["masks"], found["scores"], found["labels"], strict=True):
        filled = (mask[0] > _MASK_THRESHOLD).cpu().numpy()
        counts = {"size": list(filled.shape), "counts": encode_mask(filled).decode("ascii")}
        results.append(
            {
                "image_id": image_id,
                "category_id": category_ids[int(label) - 1],
                "score": round(float(score), 6),
                "segmentation": counts,
            }
        )
    return results
