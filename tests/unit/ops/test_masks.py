import torch

from sapnet.ops.masks import center_of_mass, masks_to_boxes, pairwise_mask_iou

L_SHAPE = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0]], dtype=torch.bool)
DOT = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
EMPTY = torch.zeros(4, 4, dtype=torch.bool)
MASKS = torch.stack([L_SHAPE, DOT, EMPTY])


def test_boxes_are_tight_and_half_open_and_zero_for_empty_masks():
    assert masks_to_boxes(MASKS).tolist() == [[1, 1, 3, 4], [1, 1, 2, 2], [0, 0, 0, 0]]
    assert masks_to_boxes(MASKS, stride=4).tolist() == [[4, 4, 12, 16], [4, 4, 8, 8], [0, 0, 0, 0]]


def test_boxes_take_any_leading_axes_and_empty_grids():
    assert masks_to_boxes(MASKS.expand(2, 5, 3, 4, 4)).shape == (2, 5, 3, 4)
    assert masks_to_boxes(torch.zeros(0, 4, 4, dtype=torch.bool)).shape == (0, 4)
    assert masks_to_boxes(torch.zeros(2, 0, 0, dtype=torch.bool)).tolist() == [[0] * 4] * 2


def test_mask_overlaps_are_shares_of_the_union_and_zero_for_empty_masks():
    expected = torch.tensor([[1.0, 0.25, 0.0], [0.25, 1.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(pairwise_mask_iou(MASKS, MASKS), expected)
    assert pairwise_mask_iou(MASKS[:0], MASKS).shape == (0, 3)


def test_centre_of_mass_counts_cells_at_their_centres():
    # Cells (x, y): (1, 1), (1, 2), (1, 3), (2, 3): mean (1.25, 2.25), plus one half.
    expected = torch.tensor([[1.75, 2.75], [1.5, 1.5], [0.0, 0.0]])
    torch.testing.assert_close(center_of_mass(MASKS), expected)
    torch.testing.assert_close(center_of_mass(MASKS, stride=4), expected * 4)
    assert center_of_mass(MASKS[:0]).shape == (0, 2)
