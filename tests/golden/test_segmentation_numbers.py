"""The losses of the SOLOv2 branch on a case small enough for paper and pencil."""

import math

import pytest
import torch

from sapnet.losses.dice import dice_loss
from sapnet.losses.focal import sigmoid_focal_loss
from sapnet.losses.segmentation import segmentation_sums
from sapnet.ops.matrix_nms import matrix_nms
from sapnet.structures import PseudoLabels, SegmentationOutputs


def test_focal_loss_of_an_undecided_output():
    # p = 1/2: 0.25 * (1/2)^2 * ln 2 for a one, 0.75 * (1/2)^2 * ln 2 for a zero.
    losses = sigmoid_focal_loss(torch.zeros(2), torch.tensor([1.0, 0.0]))
    assert losses.tolist() == pytest.approx([math.log(2) / 16, 3 * math.log(2) / 16])


def test_dice_loss_of_an_undecided_mask():
    # p = 1/2 on four cells, one of them inside: 1 - 2 * 0.5 / (4 * 0.25 + 0.001 + 1 + 0.001).
    mask = torch.tensor([[[1.0, 0], [0, 0]]])
    assert dice_loss(torch.full((1, 2, 2), 0.5), mask).item() == pytest.approx(1 - 1 / 2.002)


def test_a_pick_and_one_alternate_in_one_cell():
    # One level of one cell, one class, kernel 0: every mask probability is 1/2. The pick covers 1 of
    # 4 cells, the alternate 2 of 4; the alternate weighs 0.5 / (2 * 1) = 1/4.
    masks = torch.tensor([[[[True, False], [False, False]], [[True, True], [False, False]]]])
    labels = PseudoLabels(
        torch.tensor([0]),
        torch.tensor([[0.0, 0, 4, 4]]),
        masks,
        torch.ones(1, 2, dtype=torch.bool),
        torch.tensor([0]),
    )
    outputs = SegmentationOutputs(
        (torch.zeros(1, 1, 1, 1),), (torch.zeros(1, 3, 1, 1),), torch.randn(1, 3, 2, 2)
    )
    sums = segmentation_sums(outputs, labels, scale_ranges=[(1, 100)])
    pick, alternate = 1 - 2 * 0.5 / 2.002, 1 - 2 * 1.0 / 3.002
    assert sums.category.item() == pytest.approx(math.log(2) / 16)
    assert sums.mask.item() == pytest.approx(pick + alternate / 4)
    assert sums.num_positive_cells.item() == 1


def test_matrix_nms_of_three_masks():
    # Masks of 4, 4 and 2 cells. Overlaps: first and second 1/3, first and third 1/2, second and
    # third 0. The second is itself suppressed, but does not touch the third.
    masks = torch.tensor([[[1, 1, 1, 1, 0, 0]], [[0, 0, 1, 1, 1, 1]], [[1, 1, 0, 0, 0, 0]]]).bool()
    labels, scores = torch.zeros(3, dtype=torch.long), torch.tensor([0.9, 0.8, 0.6])
    gaussian = matrix_nms(masks, labels, scores, kernel="gaussian", sigma=2.0)
    linear = matrix_nms(masks, labels, scores, kernel="linear")
    assert gaussian.tolist() == pytest.approx([0.9, 0.8 * math.exp(-2 / 9), 0.6 * math.exp(-0.5)])
    assert linear.tolist() == pytest.approx([0.9, 0.8 * 2 / 3, 0.6 * 0.5])
