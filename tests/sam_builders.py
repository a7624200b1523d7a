"""Tiny random checkpoints of every member of the SAM family, in the format that real ones have on disk."""

from __future__ import annotations

import json

import numpy as np
import torch

from proposal_builders import prompts_at
from sapnet.proposals.prompt_plan import PlannedPrompts

SIDE = 64
"""Input side of every tiny model in pixels."""
FAMILY_NAMES = ("sam", "sam-hq", "sam2", "sam3", "edgetam")

_DECODER = {
    "hidden_size": 32,
    "num_attention_heads": 2,
    "mlp_dim": 32,
    "iou_head_hidden_dim": 16,
    "iou_head_depth": 3,
}


def _sam_settings(high_quality=False, heads=2):
    """Settings of a SAM with a windowed and a global layer in its encoder."""
    decoder = {**_DECODER, "num_attention_heads": heads}
    if high_quality:
        decoder["vit_dim"] = 16
    return {
        "vision_config": {
            "hidden_size": 16,
            "output_channels": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": 8,
            "mlp_dim": 32,
            "global_attn_indexes": [1],
            "window_size": 3,
            "num_pos_feats": 16,
        },
        "prompt_encoder_config": {
            "hidden_size": 32,
            "image_size": SIDE,
            "patch_size": 8,
            "mask_input_channels": 4,
        },
        "mask_decoder_config": decoder,
    }


def _video_kin_settings(vision):
    return {
        "vision_config": vision,
        "prompt_encoder_config": {
            "hidden_size": 32,
            "image_size": SIDE,
            "patch_size": 16,
            "mask_input_channels": 4,
        },
        "mask_decoder_config": dict(_DECODER),
    }


def _sam2_settings():
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 24, 32],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 4, 2],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [2, 2],
    }
    return _video_kin_settings(
        {
            "backbone_config": backbone,
            "backbone_channel_list": [32, 24, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        }
    )


def _sam3_settings():
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": 16,
        "window_size": 2,
        "global_attn_indexes": [1],
        "pretrain_image_size": 32,
    }
    return _video_kin_settings(
        {
            "model_type": "sam3_vision_model",
            "backbone_config": backbone,
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        }
    )


def _edgetam_settings():
    backbone = {
        "model_type": "timm_wrapper",
        "architecture": "test_efficientnet",
        "num_classes": 2,
        "model_args": {"in_chans": 3, "features_only": True, "out_indices": [1, 2, 3, 4]},
        "do_pooling": False,
    }
    return _video_kin_settings(
        {
            "backbone_config": backbone,
            "backbone_channel_list": [64, 48, 32, 24],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 32,
        }
    )


def random_model(name, seed=0, **more):
    """A tiny random model of a member, whose masks are neither empty nor full."""
    import transformers

    settings, model_name = {
        "sam": (lambda: _sam_settings(**more), "SamModel"),
        "sam-hq": (lambda: _sam_settings(high_quality=True, **more), "SamHQModel"),
        "sam2": (_sam2_settings, "Sam2Model"),
        "sam3": (_sam3_settings, "Sam3TrackerModel"),
        "edgetam": (_edgetam_settings, "EdgeTamModel"),
    }[name]
    model_class = getattr(transformers, model_name)
    torch.manual_seed(seed)
    model = model_class(model_class.config_class(**settings())).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Initial values are so small that all masks would be alike.
            spread = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.05
            parameter.add_(torch.randn_like(parameter) * spread)
        # Most predicted IoUs between 0 and 1.
        model.mask_decoder.iou_prediction_head.proj_out.weight.mul_(0.05)
        model.mask_decoder.iou_prediction_head.proj_out.bias.fill_(0.5)
    return model


def processor_of(name):
    """The processor of transformers for a tiny model of a member."""
    import transformers as t

    padded = {"size": {"longest_edge": SIDE}, "pad_size": {"height": SIDE, "width": SIDE}}
    square = {"size": {"height": SIDE, "width": SIDE}}
    return {
        "sam": lambda: t.SamProcessor(t.SamImageProcessor(**padded)),
        "sam-hq": lambda: t.SamHQProcessor(t.SamImageProcessor(**padded)),
        "sam2": lambda: t.Sam2Processor(t.Sam2ImageProcessor(**square)),
        "sam3": lambda: t.Sam3TrackerProcessor(t.Sam3ImageProcessor(**square)),
        "edgetam": lambda: t.Sam2Processor(t.Sam2ImageProcessor(**square)),
    }[name]()


def save_checkpoint(name, folder, seed=0):
    """Write a tiny checkpoint of a member as `save_pretrained` does; return the folder."""
    random_model(name, seed).save_pretrained(folder)
    processor_of(name).save_pretrained(folder)
    return folder


def set_model_type(folder, model_type):
    """Change what config.json says the checkpoint is."""
    path = folder / "config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "model_type": model_type}))


def photo(height=48, width=80, seed=0):
    """A picture with some structure."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3))
    return np.kron(coarse, np.ones((8, 8, 1), dtype=np.int64))[:height, :width].astype(np.uint8)


def three_clicks():
    """Three clicks of two classes on an image of 48 x 80."""
    return prompts_at([[12.5, 9.0], [40.0, 30.5], [70.25, 41.0]], labels=[0, 0, 1])


def planned(queries):
    """Planned prompts from (owner, kind, points with labels, box or None)."""
    points = [(i, x, y, label) for i, query in enumerate(queries) for x, y, label in query[2]]
    missing = [float("nan")] * 4
    return PlannedPrompts(
        owner=np.array([query[0] for query in queries], dtype=np.int64),
        kinds=tuple(query[1] for query in queries),
        point_xy=np.array([[x, y] for _, x, y, _ in points], dtype=np.float64).reshape(-1, 2),
        point_positive=np.array([bool(label) for *_, label in points], dtype=bool),
        point_query=np.array([i for i, *_ in points], dtype=np.int64),
        boxes=np.array([missing if query[3] is None else query[3] for query in queries]).reshape(-1, 4),
    )
