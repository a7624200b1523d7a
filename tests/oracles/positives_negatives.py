"""Equation 4 and algorithm 1, one box at a time."""

from oracles import boxes as box_oracle


def positives_of(box, guidance, scale_factors, shift):
    """Equation 4 with centre coordinates, before clipping."""
    width, height = box[2] - box[0], box[3] - box[1]
    center_x, center_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    boxes = []
    for sign in (1, -1):
        for v in scale_factors:
            new_width = (1 + sign * v / guidance) * width
            new_height = (1 + sign * v / guidance) * height
            for sx, sy in [(-1, -1), (-1, 1), (1, -1), (1, 1)] if shift else [(0, 0)]:
                x = center_x + sx * (new_width - width) / 2
                y = center_y + sy * (new_height - height) / 2
                boxes.append([x - new_width / 2, y - new_height / 2, x + new_width / 2, y + new_height / 2])
    return boxes


def generate(case, selection, *, scale_factors, shift, background_iou, part_iou, part_min_area):
    """Positives with validity per prompt, and negatives as a list of (box, image)."""
    prompts, bags = case.prompts, case.bags
    positives, negatives = [], []
    for g in range(len(prompts.labels)):  # step 1
        height, width = case.image_sizes[prompts.image_index[g]].tolist()
        bag = list(zip(bags.boxes[g].tolist(), bags.valid[g].tolist(), strict=True))
        generated = positives_of(
            selection.boxes[g].tolist(), float(selection.guidance[g]), scale_factors, shift
        )
        for box in generated:
            box = box_oracle.clip(box, height, width)
            bag.append((box, bool(selection.proposal_index[g] >= 0) and box_oracle.area(box) > 0))
        positives.append(bag)
    for image, (height, width) in enumerate(case.image_sizes.tolist()):  # step 2
        for u in case.background_draws[image].tolist():
            x1, y1 = -0.2 * width + u[0] * 1.2 * width, -0.2 * height + u[1] * 1.2 * height
            box = [x1, y1, x1 + u[2] * (1.2 * width - x1), y1 + u[3] * (1.2 * height - y1)]
            keep = box_oracle.area(box_oracle.clip(box, height, width)) > 0
            for g, bag in enumerate(positives):
                for positive, valid in bag:
                    if prompts.image_index[g] == image and valid:
                        keep = keep and box_oracle.iou(box, positive) < background_iou
            if keep:
                negatives.append((box, image))
    for g in range(len(prompts.labels)):  # step 3
        selected = selection.boxes[g].tolist()
        if selection.proposal_index[g] < 0 or box_oracle.area(selected) < part_min_area:
            continue
        width, height = selected[2] - selected[0], selected[3] - selected[1]
        for u in case.part_draws[g].tolist():
            part_width, part_height = u[0] * width, u[1] * height
            x1 = selected[0] + u[2] * (width - part_width)
            y1 = selected[1] + u[3] * (height - part_height)
            part = [x1, y1, x1 + part_width, y1 + part_height]
            if box_oracle.area(part) > 0 and box_oracle.iou(part, selected) < part_iou:
                negatives.append((part, int(prompts.image_index[g])))
    return positives, negatives
