"""The masks of prompts decoded one at a time by the processor and the model of transformers, as its manual shows."""

import numpy as np
import torch


def decode_one_by_one(model, processor, image, queries, multimask=True):
    """For every query (owner, kind, points with labels, box or None): bool masks (m, H, W), scores, and logits.

    The image is encoded anew for every query; nothing is batched. The logits are at the image's size.
    """
    answers = []
    for _, _, points, box in queries:
        prompts = {}
        if points:
            prompts["input_points"] = [[[[float(x), float(y)] for x, y, _ in points]]]
            prompts["input_labels"] = [[[int(label) for *_, label in points]]]
        if box is not None:
            prompts["input_boxes"] = [[[float(side) for side in box]]]
        inputs = processor(images=image, return_tensors="pt", **prompts)
        sizes = {"original_sizes": inputs["original_sizes"]}
        if "reshaped_input_sizes" in inputs:
            sizes["reshaped_input_sizes"] = inputs["reshaped_input_sizes"]
        call = {name: inputs[name] for name in ("pixel_values", *prompts)}
        with torch.no_grad():
            outputs = model(**call, multimask_output=multimask)
        masks = processor.post_process_masks(outputs.pred_masks, **sizes)[0][0]
        logits = processor.post_process_masks(outputs.pred_masks, binarize=False, **sizes)[0][0]
        scores = np.clip(outputs.iou_scores[0, 0].numpy(), 0.0, 1.0)
        answers.append((masks.numpy(), scores, logits.numpy()))
    return answers
