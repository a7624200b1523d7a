"""Drawing of instances and clicks."""

import numpy as np
import pytest
import torch

from sapnet.structures import Instances
from sapnet.visualize import draw_click, draw_instances, draw_mask, instance_color
from scene_builders import rectangle, rle

SIZE = (60, 90)


@pytest.fixture
def image():
    return np.full((*SIZE, 3), 120, dtype=np.uint8)


def predicted(*masks, scores=None):
    count = len(masks)
    stacked = torch.from_numpy(np.stack(masks)) if masks else torch.zeros((0, *SIZE), dtype=torch.bool)
    return Instances(
        masks=stacked,
        boxes=torch.zeros(count, 4),
        scores=torch.tensor(scores or [0.9] * count),
        labels=torch.arange(count),
        image_size=SIZE,
    )


def test_only_masks_and_captions_change_and_the_input_stays(image):
    before = image.copy()
    mask = rectangle(SIZE, 30, 20, 60, 50)
    drawn = draw_instances(image, predicted(mask), ["cat"], captions=False)
    assert (image == before).all()
    assert drawn.dtype == np.uint8
    assert drawn.shape == image.shape
    changed = (drawn != image).any(axis=2)
    assert changed[mask].all()
    assert not changed[:15].any()
    with_words = draw_instances(image, predicted(mask), ["cat"])
    assert (with_words != drawn).any()


def test_predictions_and_coco_results_look_the_same(image):
    masks = [rectangle(SIZE, 5, 20, 30, 50), rectangle(SIZE, 40, 20, 70, 50)]
    results = [
        {"segmentation": rle(mask), "category_id": 5 + row, "score": 0.9 - row / 10}
        for row, mask in enumerate(masks)
    ]
    first = draw_instances(image, predicted(*masks, scores=[0.9, 0.8]), ["cat", "dog"])
    second = draw_instances(image, results, {5: "cat", 6: "dog"})
    assert (first == second).all()


def test_the_best_score_lies_on_top_and_low_scores_are_left_out(image):
    mask = rectangle(SIZE, 30, 20, 60, 50)
    both = draw_instances(image, predicted(mask, mask, scores=[0.3, 0.9]), captions=False, opacity=1.0)
    assert tuple(both[35, 45]) == instance_color(1)
    none = draw_instances(image, predicted(mask, scores=[0.3]), min_score=0.5)
    assert (none == image).all()


def test_nothing_empty_masks_unknown_names_and_missing_scores_are_legal(image):
    assert (draw_instances(image, predicted()) == image).all()
    assert (draw_instances(image, []) == image).all()
    assert (draw_instances(image, predicted(np.zeros(SIZE, bool)), ["cat"]) == image).all()
    corner = [{"segmentation": rle(rectangle(SIZE, 80, 0, 90, 5)), "category_id": 77}]
    assert (draw_instances(image, corner, {1: "a name that is much too long for the picture"}) != image).any()


def test_a_mask_of_another_size_is_refused(image):
    with pytest.raises(ValueError, match="mask"):
        draw_mask(image, np.zeros((3, 3), bool), (255, 0, 0))
    with pytest.raises(ValueError, match="image"):
        draw_instances(np.zeros((5, 5, 3), np.uint8), predicted(np.zeros(SIZE, bool)))


def test_a_click_is_drawn_around_its_pixel_and_clipped_at_the_border(image):
    drawn = draw_click(image, (45.9, 30.2), (255, 0, 0))
    assert tuple(drawn[30, 45]) == (255, 0, 0)
    assert (drawn[:20] == image[:20]).all()
    assert (draw_click(image, (-1.0, 59.5)) != image).any()


def test_neighbours_in_the_order_have_clearly_different_colours():
    colors = np.array([instance_color(row) for row in range(50)], dtype=int)
    assert (np.abs(np.diff(colors, axis=0)).sum(axis=1) > 100).all()
