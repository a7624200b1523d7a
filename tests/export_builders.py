"""Small label sets for the tests of exporters."""

from __future__ import annotations

import numpy as np

from sapnet.data.rle import encode_mask
from sapnet.labels.label_set import labels_from_json


def segmentation(mask):
    return {"size": list(mask.shape), "counts": encode_mask(mask).decode("ascii")}


def label_document(masks_by_image, names=None, **more):
    """COCO labels from one list of (category id, mask, other keys) per image."""
    images, annotations = [], []
    for place, (size, objects) in enumerate(masks_by_image):
        name = f"{place}.jpg" if names is None else names[place]
        images.append({"id": 10 * place, "file_name": name, "width": size[1], "height": size[0]})
        for category_id, mask, keys in objects:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 10 * place,
                    "category_id": category_id,
                    "segmentation": segmentation(np.asarray(mask, dtype=bool)),
                    **keys,
                }
            )
    categories = [{"id": 0, "name": "cat"}, {"id": 7, "name": "a dog"}]
    return {"images": images, "categories": categories, "annotations": annotations, **more}


def label_set(masks_by_image, names=None, **more):
    return labels_from_json(label_document(masks_by_image, names, **more), "labels.json")


def square(size, top, left, bottom, right):
    mask = np.zeros(size, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask
