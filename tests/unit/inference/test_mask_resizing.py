"""Masks at the original size, against both interpolations of whole images one after the other."""

import pytest
import torch
import torch.nn.functional as F

from sapnet.inference.mask_resizing import resized_masks

THRESHOLD = 0.5


def whole(probs, image_size, original_size, *, stride):
    """The definition: enlarge, cut, resize, compare; every pixel of every mask."""
    height, width = image_size
    size = (probs.shape[-2] * stride, probs.shape[-1] * stride)
    enlarged = F.interpolate(probs[None].double(), size, mode="bilinear", align_corners=False)
    cut = enlarged[:, :, :height, :width]
    return F.interpolate(cut, original_size, mode="bilinear", align_corners=False)[0] > THRESHOLD


def blobs(count, size, generator):
    """Smooth probabilities: a few objects' worth of mask, some of them empty or everywhere."""
    coarse = torch.rand(count, 1, max(1, size[0] // 4), max(1, size[1] // 4), generator=generator)
    return F.interpolate(coarse * 1.2 - 0.2, size, mode="bilinear", align_corners=False)[:, 0].clamp(0, 1)


@pytest.mark.parametrize("seed", range(40))
def test_equals_two_interpolations_of_the_whole_image(seed):
    generator = torch.Generator().manual_seed(seed)
    height, width, *original = torch.randint(1, 60, (4,), generator=generator).tolist()
    size = (height // 2 + 1, width // 2 + 1)
    cut = torch.randint(0, 4, (2,), generator=generator).tolist()
    image_size = (4 * size[0] - cut[0], 4 * size[1] - cut[1])
    sharp = torch.rand(5, *size, generator=generator) ** 3
    probs = torch.cat([sharp, blobs(5, size, generator), torch.zeros(1, *size), torch.ones(1, *size)])
    expected = whole(probs, image_size, tuple(original), stride=4)
    found = resized_masks(probs, image_size, tuple(original), stride=4, threshold=THRESHOLD)
    assert torch.equal(found, expected)
    assert not found[-2].any()
    assert found[-1].all()


def test_a_single_cell_fills_its_own_pixels_alone():
    probs = torch.tensor([[[0.0, 0.0, 1.0, 0.0]]])
    (mask,) = resized_masks(probs, (4, 16), (4, 16), stride=4, threshold=THRESHOLD)
    # The neighbours' nearest pixels see it too, but with a weight of .375.
    assert mask[0].int().tolist() == [0] * 8 + [1] * 4 + [0] * 4


def test_shrinking_reads_the_cells_under_the_pixels():
    probs = torch.zeros(1, 8, 8)
    probs[0, 4:, :4] = 1.0
    (mask,) = resized_masks(probs, (32, 32), (4, 4), stride=4, threshold=THRESHOLD)
    assert mask.int().tolist() == [[0] * 4, [0] * 4, [1, 1, 0, 0], [1, 1, 0, 0]]


def test_no_masks():
    found = resized_masks(torch.zeros(0, 4, 6), (16, 24), (50, 70), stride=4, threshold=THRESHOLD)
    assert found.shape == (0, 50, 70)
    assert found.dtype == torch.bool


def test_masks_are_stored_by_columns_even_after_a_choice():
    probs = torch.rand(3, 4, 6, generator=torch.Generator().manual_seed(0))
    found = resized_masks(probs, (16, 24), (50, 70), stride=4, threshold=THRESHOLD)
    for mask in (found, found[torch.tensor([True, False, True])]):
        assert mask[0].numpy().flags.f_contiguous
