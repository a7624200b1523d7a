"""From head outputs to instances."""

import pytest
import torch

from sapnet.inference.postprocess import maskness, postprocess, suppress_neighbours
from sapnet.structures import SegmentationOutputs


def scene(objects, *, images=1, classes=3, grids=(8, 4), size=(64, 96), stride=4):
    """Outputs in which object d has mask feature channel d; objects are (image, label, level, cell,
    probability, (x1, y1, x2, y2)) with boxes in cells of the mask features."""
    depth = max(1, len(objects))
    category = [torch.full((images, classes, s, s), -8.0) for s in grids]
    kernels = [torch.zeros(images, depth, s, s) for s in grids]
    features = torch.full((images, depth, size[0] // stride, size[1] // stride), -1.0)
    for channel, (image, label, level, cell, probability, (x1, y1, x2, y2)) in enumerate(objects):
        row, column = divmod(cell, grids[level])
        category[level][image, label, row, column] = torch.logit(torch.tensor(probability))
        kernels[level][image, channel, row, column] = 10.0
        features[image, channel, y1:y2, x1:x2] = 1.0
    return SegmentationOutputs(tuple(category), tuple(kernels), features)


def test_an_object_comes_back_at_its_place_in_the_original_image():
    outputs = scene([(0, 2, 0, 10, 0.9, (4, 2, 10, 8))])
    (found,) = postprocess(outputs, torch.tensor([[64, 96]]), [(128, 192)])
    assert found.labels.tolist() == [2]
    assert found.scores.tolist() == pytest.approx([0.9], abs=1e-3)
    assert found.masks.shape == (1, 128, 192)
    assert found.boxes[0].tolist() == pytest.approx([32, 16, 80, 64], abs=1)
    assert found.image_size == (128, 192)


def test_padding_is_cut_away_and_has_no_influence():
    outputs = scene([(0, 1, 0, 10, 0.9, (4, 2, 24, 8))])
    (found,) = postprocess(outputs, torch.tensor([[50, 62]]), [(100, 124)])
    assert found.masks.shape == (1, 100, 124)
    assert found.boxes[0].tolist() == pytest.approx([32, 16, 124, 64], abs=1)
    noisy = SegmentationOutputs(outputs.category_logits, outputs.kernels, outputs.mask_features.clone())
    noisy.mask_features[:, :, 13:] = 5.0
    noisy.mask_features[..., 16:] = -5.0
    (other,) = postprocess(noisy, torch.tensor([[50, 62]]), [(100, 124)])
    assert torch.equal(found.masks, other.masks)
    assert torch.equal(found.scores, other.scores)


def test_images_of_a_batch_are_separate_and_may_be_empty():
    outputs = scene([(1, 0, 0, 10, 0.9, (4, 2, 10, 8)), (1, 1, 1, 3, 0.6, (12, 2, 20, 8))], images=3)
    sizes = torch.tensor([[64, 96], [64, 96], [64, 90]])
    empty, full, last = postprocess(outputs, sizes, [(64, 96), (32, 48), (7, 9)])
    assert full.labels.tolist() == [0, 1]
    assert (full.scores.diff() <= 0).all()
    for nothing, size in ((empty, (64, 96)), (last, (7, 9))):
        assert nothing.masks.shape == (0, *size)
        assert nothing.boxes.shape == (0, 4)
        assert nothing.scores.shape == nothing.labels.shape == (0,)


def test_duplicates_on_two_levels_are_suppressed():
    box = (4, 2, 10, 8)
    outputs = scene([(0, 1, 0, 10, 0.9, box), (0, 1, 1, 3, 0.3, box)])
    (found,) = postprocess(outputs, torch.tensor([[64, 96]]), [(64, 96)])
    assert len(found.scores) == 1
    (both,) = postprocess(outputs, torch.tensor([[64, 96]]), [(64, 96)], keep_threshold=0.01)
    assert len(both.scores) == 2


@pytest.mark.parametrize(
    ("settings", "count"),
    [({}, 3), ({"score_threshold": 0.55}, 2), ({"max_candidates": 1}, 1), ({"max_instances": 2}, 2)],
)
def test_thresholds_and_limits_keep_the_best(settings, count):
    outputs = scene(
        [
            (0, 1, 0, 10, 0.5, (0, 0, 4, 4)),
            (0, 1, 0, 20, 0.9, (5, 0, 9, 4)),
            (0, 1, 0, 30, 0.7, (10, 0, 14, 4)),
        ]
    )
    (found,) = postprocess(outputs, torch.tensor([[64, 96]]), [(64, 96)], **settings)
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.5][:count], abs=1e-3)


def test_a_candidate_with_an_empty_mask_disappears():
    outputs = scene([(0, 1, 0, 10, 0.9, (0, 0, 0, 0))])
    (found,) = postprocess(outputs, torch.tensor([[64, 96]]), [(64, 96)])
    assert len(found.scores) == 0


def test_every_cell_being_a_candidate_is_bounded():
    outputs = SegmentationOutputs(
        (torch.randn(1, 20, 40, 40) + 3,), (torch.randn(1, 8, 40, 40),), torch.randn(1, 8, 40, 60)
    )
    (found,) = postprocess(outputs, torch.tensor([[160, 240]]), [(200, 300)], max_candidates=300)
    assert 0 < len(found.scores) <= 100
    assert (found.scores.diff() <= 0).all()


def test_points_nms_keeps_the_largest_of_two_neighbours():
    probs = torch.tensor([[0.1, 0.9, 0.2], [0.3, 0.4, 0.8], [0.5, 0.1, 0.1]])[None, None]
    expected = [[0.1, 0.9, 0], [0.3, 0, 0], [0.5, 0, 0]]
    assert torch.allclose(suppress_neighbours(probs)[0, 0], torch.tensor(expected))


def test_maskness_is_the_mean_probability_inside():
    probs = torch.tensor([[[0.9, 0.7, 0.2]], [[0.1, 0.2, 0.3]]])
    assert maskness(probs, 0.5).tolist() == pytest.approx([0.8, 0.0])
