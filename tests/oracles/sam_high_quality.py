"""The mask decoder of HQ-SAM for one prompt, step by step from the paper (Ke et al., NeurIPS 2023, section 3.2)."""

import torch


def high_quality_masks(decoder, *, image, early, positions, sparse, dense):
    """Three masks (sorted by falling predicted IoU) and the predicted IoUs of one prompt.

    Uses the layers of the decoder of transformers, but none of its forward code beside the two-way transformer.
    `image` (1, C, h, w) and `early` (1, h, w, E) are features, `sparse` (t, C) and `dense` (1, C, h, w) prompts.
    """
    channels, height, width = image.shape[1:]
    # High-quality features: the encoder's output and its early features, both brought to mask resolution.
    late = decoder.activation(decoder.encoder_norm(decoder.encoder_conv1(image)))
    first = decoder.activation(
        decoder.compress_vit_norm(decoder.compress_vit_conv1(early.permute(0, 3, 1, 2)))
    )
    fused = decoder.encoder_conv2(late) + decoder.compress_vit_conv2(first)
    # The tokens: IoU, four masks, the added high-quality token, then the prompt.
    tokens = torch.cat(
        [decoder.iou_token.weight, decoder.mask_tokens.weight, decoder.hq_token.weight, sparse]
    )
    answers, cells = decoder.transformer(
        point_embeddings=tokens[None, None],
        image_embeddings=image + dense,
        image_positional_embeddings=positions,
        attention_similarity=None,
    )
    features = torch.empty(1, channels, height, width)
    for row in range(height):
        for column in range(width):
            features[0, :, row, column] = cells[0, 0, row * width + column]
    upscaled = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(features)))
    upscaled = decoder.activation(decoder.upscale_conv2(upscaled))
    sharp = decoder.mask_conv2(decoder.activation(decoder.mask_norm(decoder.mask_conv1(upscaled)))) + fused
    quality = decoder.iou_prediction_head(answers[0, 0, 0])[1:]
    sharp_mask = torch.einsum("c,chw->hw", decoder.hq_mask_mlp(answers[0, 0, 5]), sharp[0])
    masks = []
    for number in (1, 2, 3):
        weights = decoder.output_hypernetworks_mlps[number](answers[0, 0, 1 + number])
        masks.append(torch.einsum("c,chw->hw", weights, upscaled[0]) + sharp_mask)
    order = sorted(range(3), key=lambda i: -float(quality[i]))
    return torch.stack([masks[i] for i in order]), torch.stack([quality[i] for i in order])
