"""The point-to-box enhancer's boxes, one at a time (P2BNet's own words: centre, width, height)."""

from oracles import boxes as box_oracle


def coarse(xy, image_size, *, base_sizes, aspect_factors, cut):
    height, width = image_size
    found = []
    for base in base_sizes:
        for factor in aspect_factors:
            side = min(width, height) / 100 * base
            box_width, box_height = factor * side, side / factor
            if cut == "symmetric":
                box_width = min(box_width, 2 * max(min(xy[0], width - xy[0]), 0))
                box_height = min(box_height, 2 * max(min(xy[1], height - xy[1]), 0))
            box = [
                xy[0] - box_width / 2,
                xy[1] - box_height / 2,
                xy[0] + box_width / 2,
                xy[1] + box_height / 2,
            ]
            found.append(box_oracle.clip(box, height, width))
    return found


def refinement(box, *, scale_factors, shift):
    center_x, center_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    found = []
    for of_width in scale_factors:
        for of_height in scale_factors:
            width, height = of_width * (box[2] - box[0]), of_height * (box[3] - box[1])
            for dx, dy in [(0, 0), (-shift, 0), (shift, 0), (0, -shift), (0, shift)]:
                x, y = center_x + dx * width, center_y + dy * height
                found.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    return found


def shown(box, image_size):
    area = box_oracle.area(box)
    return box_oracle.area(box_oracle.clip(box, *image_size)) / area if area > 0 else 0.0


def mean_of_best(boxes, scores, valid, confidence, count):
    """Box, confidence and validity of one bag."""
    rows = sorted((m for m in range(len(boxes)) if valid[m]), key=lambda m: -scores[m])[:count]
    if not rows:
        return [0.0] * 4, 0.0, False
    weights = [scores[m] for m in rows]
    if sum(weights) == 0:
        weights = [1.0] * len(rows)
    box = [sum(w * boxes[m][i] for w, m in zip(weights, rows, strict=True)) / sum(weights) for i in range(4)]
    return box, sum(w * confidence[m] for w, m in zip(weights, rows, strict=True)) / sum(weights), True
