"""Small COCO-shaped data sets for tests of evaluation and report."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from sapnet.data.instances import instances_from_json
from sapnet.evaluation.matching import mask_areas, mask_boxes
from sapnet.proposals.proposer import ImageProposals


def rle(mask):
    """A JSON-ready run-length object of a boolean mask."""
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in mask.shape], "counts": encoded["counts"].decode()}


def rectangle(size, x1, y1, x2, y2):
    mask = np.zeros(size, dtype=bool)
    mask[y1:y2, x1:x2] = True
    return mask


def document(size, images, objects, categories=((3, "cat"), (0, "dog"))):
    """A COCO object. images: ids; objects: dicts with id, image_id, category_id, mask and flags."""
    return {
        "images": [
            {"id": number, "file_name": f"{number}.jpg", "height": size[0], "width": size[1]}
            for number in images
        ],
        "categories": [{"id": number, "name": name} for number, name in categories],
        "annotations": [
            {
                **{key: value for key, value in item.items() if key != "mask"},
                "segmentation": rle(item["mask"]),
                "area": int(item["mask"].sum()),
            }
            for item in objects
        ],
    }


def instance_set(*arguments, **options):
    return instances_from_json(document(*arguments, **options), "test instances")


class FakeStore:
    """A proposal store in memory: image id to {annotation id: [(score, mask), ...]}."""

    def __init__(self, bags, size):
        self.bags, self.size = bags, size

    def __contains__(self, image_id):
        return image_id in self.bags

    def of_image(self, image_id):
        bags = self.bags[image_id]
        rows = [
            (place, score, rle(mask))
            for place, bag in enumerate(bags.values())
            for score, mask in sorted(bag, key=lambda item: -item[0])
        ]
        masks = [{**row[2], "counts": row[2]["counts"].encode()} for row in rows]
        return ImageProposals(
            image_id=image_id,
            image_size=self.size,
            annotation_ids=np.array(list(bags), dtype=np.int64),
            prompt_index=np.array([row[0] for row in rows], dtype=np.int64),
            counts=tuple(mask["counts"] for mask in masks),
            boxes=mask_boxes(masks).astype(np.float32),
            scores=np.array([row[1] for row in rows], dtype=np.float32),
            areas=mask_areas(masks).astype(np.float32),
            kinds=("point",) * len(rows),
        )
