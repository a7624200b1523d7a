"""The tensors of original SAM, HQ-SAM and MobileSAM files by the names their authors gave, written out one by one."""

import numpy as np
import torch


def original_tensors(model):
    """The tensors of a tiny SAM or HQ-SAM by the names in the authors' own checkpoints."""
    state = model.state_dict()
    named = {
        "image_encoder.pos_embed": state["vision_encoder.pos_embed"],
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": state[
            "shared_image_embedding.positional_embedding"
        ],
    }

    def copy(original, ours, kinds=("weight", "bias")):
        for kind in kinds:
            named[f"{original}.{kind}"] = state[f"{ours}.{kind}"]

    def copy_stack(original, ours):
        hidden = len({key.split(".layers.")[1] for key in state if key.startswith(f"{ours}.layers.")}) // 2
        copy(f"{original}.layers.0", f"{ours}.proj_in")
        for number in range(hidden):
            copy(f"{original}.layers.{number + 1}", f"{ours}.layers.{number}")
        copy(f"{original}.layers.{hidden + 1}", f"{ours}.proj_out")

    copy("image_encoder.patch_embed.proj", "vision_encoder.patch_embed.projection")
    for number in range(2):
        block, layer = f"image_encoder.blocks.{number}", f"vision_encoder.layers.{number}"
        for one, other in (("norm1", "layer_norm1"), ("norm2", "layer_norm2")):
            copy(f"{block}.{one}", f"{layer}.{other}")
        for part in ("attn.qkv", "attn.proj", "mlp.lin1", "mlp.lin2"):
            copy(f"{block}.{part}", f"{layer}.{part}")
        for part in ("rel_pos_h", "rel_pos_w"):
            named[f"{block}.attn.{part}"] = state[f"{layer}.attn.{part}"]
    copy("image_encoder.neck.0", "vision_encoder.neck.conv1", ("weight",))
    copy("image_encoder.neck.1", "vision_encoder.neck.layer_norm1")
    copy("image_encoder.neck.2", "vision_encoder.neck.conv2", ("weight",))
    copy("image_encoder.neck.3", "vision_encoder.neck.layer_norm2")
    named.update(original_prompt_tensors(state))
    decoder = "mask_decoder"
    for token in ("iou_token", "mask_tokens"):
        copy(f"{decoder}.{token}", f"{decoder}.{token}", ("weight",))
    attentions = ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
    projections = ("q_proj", "k_proj", "v_proj", "out_proj")
    for number in range(2):
        layer = f"{decoder}.transformer.layers.{number}"
        for part in [f"{attention}.{projection}" for attention in attentions for projection in projections]:
            copy(f"{layer}.{part}", f"{layer}.{part}")
        for part in ("mlp.lin1", "mlp.lin2"):
            copy(f"{layer}.{part}", f"{layer}.{part}")
        for place in (1, 2, 3, 4):
            copy(f"{layer}.norm{place}", f"{layer}.layer_norm{place}")
    last = f"{decoder}.transformer"
    for projection in projections:
        copy(
            f"{last}.final_attn_token_to_image.{projection}", f"{last}.final_attn_token_to_image.{projection}"
        )
    copy(f"{last}.norm_final_attn", f"{last}.layer_norm_final_attn")
    copy(f"{decoder}.output_upscaling.0", f"{decoder}.upscale_conv1")
    copy(f"{decoder}.output_upscaling.1", f"{decoder}.upscale_layer_norm")
    copy(f"{decoder}.output_upscaling.3", f"{decoder}.upscale_conv2")
    for number in range(4):
        stack = f"{decoder}.output_hypernetworks_mlps.{number}"
        copy_stack(stack, stack)
    copy_stack(f"{decoder}.iou_prediction_head", f"{decoder}.iou_prediction_head")
    if f"{decoder}.hq_token.weight" in state:
        copy(f"{decoder}.hf_token", f"{decoder}.hq_token", ("weight",))
        copy_stack(f"{decoder}.hf_mlp", f"{decoder}.hq_mask_mlp")
        for original, ours in (
            ("compress_vit_feat", ("compress_vit_conv1", "compress_vit_norm", "compress_vit_conv2")),
            ("embedding_encoder", ("encoder_conv1", "encoder_norm", "encoder_conv2")),
            ("embedding_maskfeature", ("mask_conv1", "mask_norm", "mask_conv2")),
        ):
            for place, name in zip((0, 1, 3), ours, strict=True):
                copy(f"{decoder}.{original}.{place}", f"{decoder}.{name}")
    return {name: value.clone() for name, value in named.items()}


def original_prompt_tensors(state):
    """The prompt encoder's part, from a state dict of transformers."""
    named = {}
    for number in range(4):
        key = f"prompt_encoder.point_embed.{number}.weight"
        named[f"prompt_encoder.point_embeddings.{number}.weight"] = state[key]
    for name in ("not_a_point_embed", "no_mask_embed"):
        named[f"prompt_encoder.{name}.weight"] = state[f"prompt_encoder.{name}.weight"]
    places = {0: "conv1", 1: "layer_norm1", 3: "conv2", 4: "layer_norm2", 6: "conv3"}
    for place, layer in places.items():
        for kind in ("weight", "bias"):
            key = f"prompt_encoder.mask_embed.{layer}.{kind}"
            named[f"prompt_encoder.mask_downscaling.{place}.{kind}"] = state[key]
    return named


def tiny_vit_tensors(
    widths=(8, 8, 12, 16), depths=(1, 1, 1, 1), heads=(1, 2, 3, 2), windows=(1, 3, 4, 3), out=32
):
    """Random tensors of MobileSAM's image encoder by their original names, without a prefix."""
    random = torch.Generator().manual_seed(5)
    named = {}

    def linear(name, *shape, bias=True):
        fan_in = int(np.prod(shape[1:]))
        named[f"{name}.weight"] = torch.randn(shape, generator=random) * fan_in**-0.5
        if bias:
            named[f"{name}.bias"] = torch.randn(shape[0], generator=random) * 0.1

    def norm(name, width):
        named[f"{name}.weight"] = 1 + 0.2 * torch.randn(width, generator=random)
        named[f"{name}.bias"] = 0.2 * torch.randn(width, generator=random)

    def conv_norm(name, into, out_of, side, groups=1):
        linear(f"{name}.c", into, out_of // groups, side, side, bias=False)
        norm(f"{name}.bn", into)
        named[f"{name}.bn.running_mean"] = 0.1 * torch.randn(into, generator=random)
        named[f"{name}.bn.running_var"] = 0.5 + torch.rand(into, generator=random)
        named[f"{name}.bn.num_batches_tracked"] = torch.tensor(7)

    conv_norm("patch_embed.seq.0", widths[0] // 2, 3, 3)
    conv_norm("patch_embed.seq.2", widths[0], widths[0] // 2, 3)
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for block in range(depth):
            name = f"layers.{stage}.blocks.{block}"
            if stage == 0:
                conv_norm(f"{name}.conv1", 4 * width, width, 1)
                conv_norm(f"{name}.conv2", 4 * width, 4 * width, 3, groups=4 * width)
                conv_norm(f"{name}.conv3", width, 4 * width, 1)
                continue
            norm(f"{name}.attn.norm", width)
            linear(f"{name}.attn.qkv", 3 * width, width)
            linear(f"{name}.attn.proj", width, width)
            offsets = (heads[stage], windows[stage] ** 2)
            named[f"{name}.attn.attention_biases"] = torch.randn(offsets, generator=random)
            conv_norm(f"{name}.local_conv", width, width, 3, groups=width)
            norm(f"{name}.mlp.norm", width)
            linear(f"{name}.mlp.fc1", 4 * width, width)
            linear(f"{name}.mlp.fc2", width, 4 * width)
        if stage < len(widths) - 1:
            name, wider = f"layers.{stage}.downsample", widths[stage + 1]
            conv_norm(f"{name}.conv1", wider, width, 1)
            conv_norm(f"{name}.conv2", wider, wider, 3, groups=wider)
            conv_norm(f"{name}.conv3", wider, wider, 1)
    norm("norm_head", widths[-1])
    linear("head", 10, widths[-1])
    linear("neck.0", out, widths[-1], 1, 1, bias=False)
    norm("neck.1", out)
    linear("neck.2", out, out, 3, 3, bias=False)
    norm("neck.3", out)
    return named
