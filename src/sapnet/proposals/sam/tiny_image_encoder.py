"""MobileSAM's image encoder: TinyViT whose last stage keeps the resolution, with SAM's neck."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sapnet.errors import CheckpointError

_PREFIX = "image_encoder."
_STRIDE = 16
_IMAGE_SIZE = 1024
"""Side of the padded input; TinyViT's tensors do not tell it, and every published checkpoint has it."""

_RENAMED = (
    (r"^patch_embed\.seq\.0\.", "patch_embed.conv1."),
    (r"^patch_embed\.seq\.2\.", "patch_embed.conv2."),
    (r"^layers\.", "stages."),
    (r"\.c\.weight$", ".conv.weight"),
)
_MERGING = re.compile(r"^layers\.(\d+)\.downsample\.")


def is_tiny_encoder(tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether the image encoder of an original checkpoint is TinyViT."""
    return f"{_PREFIX}patch_embed.seq.0.c.weight" in tensors


class TinyImageEncoder(nn.Module):
    """TinyViT (Wu et al., ECCV 2022) as MobileSAM uses it, through ``timm``'s layers.

    Unlike TinyViT for classification, the last merging of patches has stride 1, so the output has one cell
    per 16 input pixels, as SAM's own encoder.

    Args:
        body: ``timm``'s network without its head.
        neck: Four layers that bring the channels to the decoder's.
        image_size: Side of the input in pixels.
    """

    patch_size = _STRIDE
    """Input pixels per output cell."""

    def __init__(self, body: nn.Module, neck: nn.Sequential, *, image_size: int) -> None:
        super().__init__()
        self.body = body
        self.neck = neck
        self.image_size = image_size

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor], *, image_size: int = _IMAGE_SIZE) -> TinyImageEncoder:
        """Build the encoder from the tensors of an original MobileSAM checkpoint.

        Args:
            tensors: All tensors of the checkpoint, by original name.
            image_size: Side of the input in pixels.

        Raises:
            CheckpointError: They are not those of TinyViT.
        """
        own = {
            name.removeprefix(_PREFIX): value for name, value in tensors.items() if name.startswith(_PREFIX)
        }
        try:
            body = _empty_body(own)
            neck = _empty_neck(own)
        except (KeyError, IndexError, ZeroDivisionError) as error:
            problem = f"Its image encoder is no TinyViT that is known here ({error})."
            raise CheckpointError("the MobileSAM checkpoint", [problem]) from error
        encoder = cls(body, neck, image_size=image_size)
        try:
            encoder.load_state_dict(_renamed(own))
        except RuntimeError as error:
            problem = f"Its image encoder does not fit ({str(error).splitlines()[-1].strip()})."
            raise CheckpointError("the MobileSAM checkpoint", [problem]) from error
        return encoder

    def forward(
        self, pixel_values: Float[Tensor, "B 3 H W"], **_: Any
    ) -> tuple[Float[Tensor, "B C H/16 W/16"]]:
        """Encode normalised images.

        Returns:
            A tuple of the features alone, as ``SamModel`` expects of its encoder.
        """
        features: Any = self.body.patch_embed(pixel_values)  # type: ignore[operator]
        return (self.neck(self.body.stages(features)),)  # type: ignore[operator]


class _ChannelNorm(nn.Module):
    """Layer normalisation over the channels of (B, C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        last = nn.functional.layer_norm(
            features.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, eps=1e-6
        )
        return last.permute(0, 3, 1, 2)


def _empty_body(own: Mapping[str, Tensor]) -> nn.Module:
    """Build TinyViT with the sizes that the tensors have."""
    from timm.models.tiny_vit import TinyVit

    stages = 1 + max(int(match[1]) for name in own if (match := re.match(r"^layers\.(\d+)\.", name)))
    widths, depths, heads, windows = [], [], [], []
    for stage in range(stages):
        blocks = {int(m[1]) for name in own if (m := re.match(rf"^layers\.{stage}\.blocks\.(\d+)\.", name))}
        depths.append(len(blocks))
        if stage == 0:
            widths.append(own["patch_embed.seq.2.c.weight"].shape[0])
            heads.append(1)
            windows.append(1)
            continue
        biases = own[f"layers.{stage}.blocks.0.attn.attention_biases"]
        widths.append(own[f"layers.{stage}.blocks.0.attn.norm.weight"].shape[0])
        heads.append(biases.shape[0])
        windows.append(round(biases.shape[1] ** 0.5))
    body: Any = TinyVit(
        num_classes=0,
        embed_dims=tuple(widths),
        depths=tuple(depths),
        num_heads=tuple(heads),
        window_sizes=tuple(windows),
        drop_path_rate=0.0,
    )
    body.head = nn.Identity()
    merging = body.stages[-1].downsample
    merging.conv2.conv.stride = (1, 1)
    return body


def _empty_neck(own: Mapping[str, Tensor]) -> nn.Sequential:
    out, width = own["neck.0.weight"].shape[:2]
    return nn.Sequential(
        nn.Conv2d(width, out, 1, bias=False),
        _ChannelNorm(out),
        nn.Conv2d(out, out, 3, padding=1, bias=False),
        _ChannelNorm(out),
    )


def _renamed(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by their names here, without those of the classification head."""
    renamed = {}
    for original, value in own.items():
        if original.startswith(("head.", "norm_head.")) or original.endswith("attention_bias_idxs"):
            continue
        if original.startswith("neck."):
            renamed[original] = value
            continue
        # timm merges patches at the start of a stage, the original at the end of the one before.
        name = _MERGING.sub(lambda match: f"layers.{int(match[1]) + 1}.downsample.", original)
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[f"body.{name}"] = value
    return renamed
