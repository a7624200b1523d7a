"""Instances as COCO results."""

import pytest
import torch

from sapnet.data.rle import decode_masks
from sapnet.inference.predict import coco_results
from sapnet.structures import Instances


def instances(count, size=(7, 9)):
    masks = torch.zeros(count, *size, dtype=torch.bool)
    for row in range(count):
        masks[row, row + 1 : 5, 2:6] = True
    boxes = torch.tensor([[2.0, row + 1, 6, 5] for row in range(count)]).reshape(-1, 4)
    scores = torch.linspace(0.9, 0.5, count)
    return Instances(masks, boxes, scores, torch.arange(count), size)


def test_every_instance_is_written_with_its_own_mask():
    found = instances(3)
    results = coco_results(found, 12, [5, 6, 8])
    assert [entry["category_id"] for entry in results] == [5, 6, 8]
    assert {entry["image_id"] for entry in results} == {12}
    assert [entry["score"] for entry in results] == pytest.approx([0.9, 0.7, 0.5])
    assert results[1]["bbox"] == [2, 2, 4, 3]
    assert all(entry["segmentation"]["size"] == [7, 9] for entry in results)
    counts = [entry["segmentation"]["counts"].encode() for entry in results]
    assert (decode_masks(counts, (7, 9)) == found.masks.numpy()).all()


def test_no_instance_gives_no_result():
    assert coco_results(instances(0), 1, [5]) == []
