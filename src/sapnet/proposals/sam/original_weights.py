"""Original ``.pth`` weights of SAM, HQ-SAM and MobileSAM as models of ``transformers``.

The names of the tensors are mapped, and every size of the network is read off their shapes, so that the
base, large and huge encoders need not be told apart by file name.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sapnet.errors import CheckpointError
from sapnet.proposals.sam.checkpoints import SamCheckpoint, download_command, first_words
from sapnet.proposals.sam.families import SamFamily, class_of_transformers, family_named
from sapnet.proposals.sam.tiny_image_encoder import TinyImageEncoder, is_tiny_encoder

_RENAMED = (
    (r"^image_encoder\.", "vision_encoder."),
    (r"^vision_encoder\.patch_embed\.proj\.", "vision_encoder.patch_embed.projection."),
    (r"^vision_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^vision_encoder\.neck\.0\.", "vision_encoder.neck.conv1."),
    (r"^vision_encoder\.neck\.1\.", "vision_encoder.neck.layer_norm1."),
    (r"^vision_encoder\.neck\.2\.", "vision_encoder.neck.conv2."),
    (r"^vision_encoder\.neck\.3\.", "vision_encoder.neck.layer_norm2."),
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
    (r"^prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embed."),
    (r"^prompt_encoder\.mask_downscaling\.0\.", "prompt_encoder.mask_embed.conv1."),
    (r"^prompt_encoder\.mask_downscaling\.1\.", "prompt_encoder.mask_embed.layer_norm1."),
    (r"^prompt_encoder\.mask_downscaling\.3\.", "prompt_encoder.mask_embed.conv2."),
    (r"^prompt_encoder\.mask_downscaling\.4\.", "prompt_encoder.mask_embed.layer_norm2."),
    (r"^prompt_encoder\.mask_downscaling\.6\.", "prompt_encoder.mask_embed.conv3."),
    (r"^mask_decoder\.output_upscaling\.0\.", "mask_decoder.upscale_conv1."),
    (r"^mask_decoder\.output_upscaling\.1\.", "mask_decoder.upscale_layer_norm."),
    (r"^mask_decoder\.output_upscaling\.3\.", "mask_decoder.upscale_conv2."),
    (r"^mask_decoder\.hf_token\.", "mask_decoder.hq_token."),
    (r"^mask_decoder\.hf_mlp\.", "mask_decoder.hq_mask_mlp."),
    (r"^mask_decoder\.compress_vit_feat\.0\.", "mask_decoder.compress_vit_conv1."),
    (r"^mask_decoder\.compress_vit_feat\.1\.", "mask_decoder.compress_vit_norm."),
    (r"^mask_decoder\.compress_vit_feat\.3\.", "mask_decoder.compress_vit_conv2."),
    (r"^mask_decoder\.embedding_encoder\.0\.", "mask_decoder.encoder_conv1."),
    (r"^mask_decoder\.embedding_encoder\.1\.", "mask_decoder.encoder_norm."),
    (r"^mask_decoder\.embedding_encoder\.3\.", "mask_decoder.encoder_conv2."),
    (r"^mask_decoder\.embedding_maskfeature\.0\.", "mask_decoder.mask_conv1."),
    (r"^mask_decoder\.embedding_maskfeature\.1\.", "mask_decoder.mask_norm."),
    (r"^mask_decoder\.embedding_maskfeature\.3\.", "mask_decoder.mask_conv2."),
)
"""Patterns of original names and what stands in their place, applied in order."""

_STACKS = (
    r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head|hq_mask_mlp))\.layers\.(\d+)\."
)
"""Stacks of linear layers: ``transformers`` gives the first and the last a name of their own."""

_POSITIONS = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
_DECODER_HEADS = 8
"""Attention heads of every published mask decoder; no tensor's shape depends on it."""
_DECODER_EPSILON = 1e-5
"""Of the original layer normalisation between attention layers (``torch.nn.LayerNorm``'s own)."""


@dataclass(frozen=True)
class OriginalModel:
    """A model made from an original file."""

    model: nn.Module
    image_size: int
    """Longer side of the input, and side of the padded input, in pixels."""


def load_original(checkpoint: SamCheckpoint) -> OriginalModel:
    """Build a model of ``transformers`` from one file of original weights, on the CPU in float32.

    Args:
        checkpoint: The file, and the member of the family that was asked for.

    Raises:
        CheckpointError: The file is corrupt, holds something else, or another member of the family.
    """
    tensors = _read_tensors(checkpoint)
    _refuse_other_family(checkpoint, tensors)
    if is_tiny_encoder(tensors):
        return _with_tiny_encoder(checkpoint, tensors)
    try:
        settings = _settings(tensors)
    except (KeyError, IndexError, ValueError) as error:
        problem = (
            f"Its tensors are not those of {checkpoint.family.title} ({error}); get others: "
            f"{download_command(checkpoint.family)}"
        )
        raise CheckpointError(checkpoint.label, [problem]) from error
    model = _empty_model(checkpoint.family, settings)
    _fill(model, _renamed(tensors), checkpoint)
    return OriginalModel(model, settings["vision_config"]["image_size"])


def _read_tensors(checkpoint: SamCheckpoint) -> dict[str, Tensor]:
    again = f"download it again, or take a folder instead: {download_command(checkpoint.family)}"
    try:
        # Weights only: unpickling anything else could run code.
        content = torch.load(checkpoint.path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        problem = f"It is corrupt, or holds more than tensors, which is not loaded; {again}"
        raise CheckpointError(checkpoint.label, [problem]) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        problem = f"It is corrupt ({first_words(error)}); {again}"
        raise CheckpointError(checkpoint.label, [problem]) from error
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        problem = f"It holds a {type(content).__name__}, expected named tensors; {again}"
        raise CheckpointError(checkpoint.label, [problem])
    tensors = {
        str(name).removeprefix("module."): value
        for name, value in content.items()
        if isinstance(value, Tensor)
    }
    if not tensors:
        raise CheckpointError(checkpoint.label, [f"It holds no tensors; {again}"])
    return tensors


def _refuse_other_family(checkpoint: SamCheckpoint, tensors: Mapping[str, Tensor]) -> None:
    asked = checkpoint.family
    if any(name.startswith(("sam_mask_decoder.", "memory_encoder.")) for name in tensors):
        family = family_named("sam2")
        problem = (
            f"It is an original file of SAM 2 or one of its kin; use --proposer {family.name} with a folder "
            f"in the format of transformers: {download_command(family)}"
        )
        raise CheckpointError(checkpoint.label, [problem])
    if not any(name.startswith("image_encoder.") for name in tensors) or _POSITIONS not in tensors:
        first = ", ".join(sorted(tensors)[:3])
        problem = (
            f"It is no original checkpoint of SAM, HQ-SAM or MobileSAM (its tensors begin with {first}); "
            f"a checkpoint of transformers is given as its folder: {download_command(asked)}"
        )
        raise CheckpointError(checkpoint.label, [problem])
    found = family_named("sam-hq" if "mask_decoder.hf_token.weight" in tensors else "sam")
    if found is not asked:
        problem = f"It is a checkpoint of {found.title}, not of {asked.title}; use --proposer {found.name}."
        raise CheckpointError(checkpoint.label, [problem])
    if is_tiny_encoder(tensors) and found.name == "sam-hq":
        problem = (
            f"It is the light HQ-SAM (TinyViT encoder), which is not supported; use --proposer sam-hq with "
            f"{asked.hub_id}, or MobileSAM's mobile_sam.pt with --proposer sam."
        )
        raise CheckpointError(checkpoint.label, [problem])


def _settings(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Read the sizes of the network off the shapes of its tensors."""
    patches = tensors["image_encoder.patch_embed.proj.weight"]
    grid = tensors["image_encoder.pos_embed"].shape[1]
    reach = _numbered(tensors, r"^image_encoder\.blocks\.(\d+)\.attn\.rel_pos_h$")
    windows = [(len(table) + 1) // 2 for table in reach.values() if len(table) != 2 * grid - 1]
    hidden, patch = patches.shape[0], patches.shape[2]
    vision = {
        "hidden_size": hidden,
        "output_channels": tensors["image_encoder.neck.0.weight"].shape[0],
        "num_hidden_layers": len(reach),
        "num_attention_heads": hidden // reach[0].shape[1],
        "image_size": grid * patch,
        "patch_size": patch,
        "window_size": windows[0] if windows else grid,
        "global_attn_indexes": [i for i, table in reach.items() if len(table) == 2 * grid - 1],
        "mlp_dim": tensors["image_encoder.blocks.0.mlp.lin1.weight"].shape[0],
        "num_pos_feats": tensors[_POSITIONS].shape[1],
    }
    return {"vision_config": vision, **_decoder_settings(tensors, grid * patch, patch, hidden)}


def _decoder_settings(
    tensors: Mapping[str, Tensor], image_size: int, patch_size: int, vit_size: int
) -> dict[str, dict[str, Any]]:
    layer = "mask_decoder.transformer.layers.0"
    width = tensors["mask_decoder.iou_token.weight"].shape[1]
    decoder = {
        "hidden_size": width,
        "mlp_dim": tensors[f"{layer}.mlp.lin1.weight"].shape[0],
        "num_hidden_layers": len(
            _numbered(tensors, r"^mask_decoder\.transformer\.layers\.(\d+)\.norm1\.weight$")
        ),
        "num_attention_heads": _DECODER_HEADS,
        "attention_downsample_rate": width
        // tensors[f"{layer}.cross_attn_token_to_image.q_proj.weight"].shape[0],
        "num_multimask_outputs": tensors["mask_decoder.mask_tokens.weight"].shape[0] - 1,
        "iou_head_depth": len(
            _numbered(tensors, r"^mask_decoder\.iou_prediction_head\.layers\.(\d+)\.weight$")
        ),
        "iou_head_hidden_dim": tensors["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
        "layer_norm_eps": _DECODER_EPSILON,
    }
    if "mask_decoder.hf_token.weight" in tensors:
        decoder["vit_dim"] = vit_size
    prompts = {
        "hidden_size": width,
        "image_size": image_size,
        "patch_size": patch_size,
        "mask_input_channels": tensors["prompt_encoder.mask_downscaling.3.weight"].shape[0],
    }
    return {"prompt_encoder_config": prompts, "mask_decoder_config": decoder}


def _numbered(tensors: Mapping[str, Tensor], pattern: str) -> dict[int, Tensor]:
    """Return the tensors whose names match, by the number in the name."""
    found = {int(match[1]): name for name in tensors if (match := re.match(pattern, name))}
    return {number: tensors[found[number]] for number in sorted(found)}


def _empty_model(family: SamFamily, settings: Mapping[str, Any]) -> nn.Module:
    model_class = class_of_transformers(family.model_class)
    return model_class(model_class.config_class(**settings)).eval()


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by their names in ``transformers``."""
    renamed = {}
    for original, value in tensors.items():
        name = original
        if name == _POSITIONS:
            renamed["shared_image_embedding.positional_embedding"] = value
            renamed["prompt_encoder.shared_embedding.positional_embedding"] = value
            continue
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    last: dict[str, int] = {}
    for name in renamed:
        if match := re.match(_STACKS, name):
            last[match[1]] = max(last.get(match[1], 0), int(match[2]))

    def place(match: re.Match[str]) -> str:
        number = int(match[2])
        ends = {0: "proj_in", last[match[1]]: "proj_out"}
        return f"{match[1]}.{ends.get(number, f'layers.{number - 1}')}."

    return {re.sub(_STACKS, place, name): value for name, value in renamed.items()}


def _with_tiny_encoder(checkpoint: SamCheckpoint, tensors: Mapping[str, Tensor]) -> OriginalModel:
    """Build SAM around MobileSAM's image encoder."""
    encoder = TinyImageEncoder.of_tensors(tensors)
    width = tensors["mask_decoder.iou_token.weight"].shape[1]
    settings = {
        # The smallest encoder that fits the settings; it makes room for the real one.
        "vision_config": {
            "hidden_size": width,
            "output_channels": width,
            "num_hidden_layers": 0,
            "global_attn_indexes": [],
            "image_size": encoder.image_size,
            "num_pos_feats": tensors[_POSITIONS].shape[1],
        },
        **_decoder_settings(tensors, encoder.image_size, encoder.patch_size, width),
    }
    model: Any = _empty_model(checkpoint.family, settings)
    rest = {name: value for name, value in tensors.items() if not name.startswith("image_encoder.")}
    model.vision_encoder = nn.Identity()
    _fill(model, _renamed(rest), checkpoint)
    model.vision_encoder = encoder.eval()
    return OriginalModel(model, encoder.image_size)


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], checkpoint: SamCheckpoint) -> None:
    """Copy tensors into the model, which must have exactly those."""
    again = f"Get a whole checkpoint: {download_command(checkpoint.family)}"
    try:
        outcome = model.load_state_dict(dict(tensors), strict=False)
    except RuntimeError as error:
        problem = f"Its tensors have other shapes than expected ({str(error).splitlines()[-1].strip()})."
        raise CheckpointError(checkpoint.label, [problem, again]) from error
    problems = (
        [f"It lacks {len(outcome.missing_keys)} tensors, such as {outcome.missing_keys[0]}."]
        if outcome.missing_keys
        else []
    )
    if outcome.unexpected_keys:
        problems.append(
            f"It has {len(outcome.unexpected_keys)} unknown tensors, such as {outcome.unexpected_keys[0]}."
        )
    if problems:
        raise CheckpointError(checkpoint.label, [*problems, again])
