"""Matrix NMS."""

import pytest
import torch

from sapnet.ops.matrix_nms import matrix_nms


def stripes(*spans, width=20):
    masks = torch.zeros(len(spans), 1, width, dtype=torch.bool)
    for row, (start, stop) in enumerate(spans):
        masks[row, 0, start:stop] = True
    return masks


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
def test_disjoint_masks_keep_their_scores(kernel):
    scores = torch.tensor([0.3, 0.9, 0.5])
    decayed = matrix_nms(
        stripes((0, 5), (5, 10), (10, 15)), torch.zeros(3, dtype=torch.long), scores, kernel=kernel
    )
    assert torch.equal(decayed, scores)


@pytest.mark.parametrize(("kernel", "expected"), [("gaussian", 0.8 * 2.718281828**-2), ("linear", 0.0)])
def test_an_exact_duplicate_of_the_same_label_decays_fully(kernel, expected):
    masks, scores = stripes((0, 5), (0, 5)), torch.tensor([0.8, 0.9])
    same = matrix_nms(masks, torch.tensor([1, 1]), scores, kernel=kernel)
    other = matrix_nms(masks, torch.tensor([1, 2]), scores, kernel=kernel)
    assert same.tolist() == pytest.approx([expected, 0.9], abs=1e-6)
    assert torch.equal(other, scores)


def test_a_suppressed_mask_suppresses_less():
    masks = stripes((0, 10), (0, 8), (4, 14))
    labels, scores = torch.zeros(3, dtype=torch.long), torch.tensor([0.9, 0.8, 0.7])
    with_middle = matrix_nms(masks, labels, scores)[2]
    without_middle = matrix_nms(masks[[0, 2]], labels[:2], scores[[0, 2]])[1]
    assert with_middle.item() == pytest.approx(without_middle.item())


def test_equal_scores_count_as_ordered_by_index():
    decayed = matrix_nms(stripes((0, 5), (0, 5)), torch.zeros(2, dtype=torch.long), torch.tensor([0.5, 0.5]))
    assert decayed[0] == 0.5
    assert decayed[1] < 0.1


def test_no_masks_and_empty_masks_are_legal():
    nothing = torch.zeros(0, 4, 4, dtype=torch.bool)
    assert matrix_nms(nothing, torch.zeros(0, dtype=torch.long), torch.zeros(0)).shape == (0,)
    blank = torch.zeros(2, 4, 4, dtype=torch.bool)
    assert matrix_nms(
        blank, torch.zeros(2, dtype=torch.long), torch.tensor([0.5, 0.4])
    ).tolist() == pytest.approx([0.5, 0.4])
