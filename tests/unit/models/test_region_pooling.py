"""RoIAlign, levels and mask pooling."""

import pytest
import torch
from torchvision.ops import roi_align

from oracles.region_pooling import align
from sapnet.models.region_pooling import RegionPooler, align_regions, box_levels


def random_boxes(count, size=150.0, low=-20.0):
    first, second = torch.rand(2, count, 2) * size + low
    return torch.cat((torch.minimum(first, second), torch.maximum(first, second)), dim=1)


def test_features_equal_the_definition_of_roi_align():
    feature, boxes = torch.randn(1, 2, 5, 7), random_boxes(4, 60.0)
    pooled = RegionPooler([8], roi_size=3)([feature], boxes, torch.zeros(4, dtype=torch.long))
    for box, result in zip(boxes.tolist(), pooled, strict=True):
        for channel in range(2):
            expected = torch.tensor(align(feature[0, channel].tolist(), box, 3, 8, 2))
            assert torch.allclose(result[channel], expected, atol=1e-5)


@pytest.mark.parametrize("side", [(9, 13), (1, 1), (1, 5), (3, 1)])
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_the_sparse_product_equals_torchvision_in_value_and_gradient(samples, side):
    feature = torch.randn(3, 5, *side, dtype=torch.float64, requires_grad=True)
    index = torch.randint(0, 3, (60, 1)).double()
    rois = torch.cat((index, random_boxes(60).double()), dim=1)
    ours = align_regions(feature, rois, 7, stride=8, samples=samples)
    theirs = roi_align(feature, rois, 7, 1 / 8, samples, aligned=True)
    assert torch.allclose(ours, theirs)
    weight = torch.randn_like(ours)
    gradients = [torch.autograd.grad(result, feature, weight)[0] for result in (ours, theirs)]
    assert torch.allclose(*gradients)


def test_a_box_that_is_not_a_number_gives_features_that_are_none_either():
    rois = torch.tensor([[0.0, 1, 1, 20, 20], [0, float("nan"), 1, 20, 20]])
    found = align_regions(torch.randn(1, 2, 4, 4), rois, 3, stride=8, samples=2)
    assert found[0].isfinite().all()
    assert found[1].isnan().all()


@pytest.mark.parametrize("mode", ["pyramid", "backbone"])
def test_half_precision_maps_give_half_precision_features_of_the_same_sums(mode):
    features = [torch.randn(2, 4, 64 // s, 96 // s) for s in (4, 8)]
    boxes, index = random_boxes(9), torch.randint(0, 2, (9,))
    pooler = RegionPooler([4, 8], roi_size=3, mode=mode)
    half = [feature.bfloat16() for feature in features]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pooler(half, boxes, index)
    assert found.dtype == torch.bfloat16
    expected = pooler([feature.float() for feature in half], boxes, index)
    assert torch.allclose(found.float(), expected, atol=2e-2)


@pytest.mark.parametrize("mode", ["pyramid", "backbone"])
def test_rows_do_not_depend_on_the_order_or_company_of_the_boxes(mode):
    features = [torch.randn(2, 4, 64 // s, 96 // s) for s in (4, 8, 16)]
    boxes, index = random_boxes(30), torch.randint(0, 2, (30,))
    pooler = RegionPooler([4, 8, 16], roi_size=3, mode=mode, chunk=7)
    together = pooler(features, boxes, index)
    order = torch.randperm(30)
    assert torch.allclose(pooler(features, boxes[order], index[order]), together[order], atol=1e-5)
    alone = pooler(features, boxes[3:4], index[3:4])
    assert torch.allclose(alone, together[3:4], atol=1e-5)


def test_backbone_mode_concatenates_all_stages():
    channels = (2, 3, 5)
    features = [torch.randn(1, c, 8, 8) for c in channels]
    pooler = RegionPooler([8, 16, 32], roi_size=2)
    pooled = pooler(features, random_boxes(6), torch.zeros(6, dtype=torch.long))
    assert pooled.shape == (6, pooler.out_channels(channels), 2, 2) == (6, 10, 2, 2)


def test_pyramid_mode_uses_the_level_of_the_box():
    features = [torch.full((1, 2, 64, 64), float(level)) for level in range(4)]
    sides = torch.tensor([10.0, 56, 111, 112, 224, 250])
    boxes = torch.cat((torch.zeros(6, 2), sides[:, None].expand(6, 2)), dim=1)
    pooler = RegionPooler([4, 8, 16, 32], roi_size=1, mode="pyramid")
    pooled = pooler(features, boxes, torch.zeros(6, dtype=torch.long))
    assert pooled[:, 0, 0, 0].tolist() == pytest.approx([0, 0, 0, 1, 2, 2])
    assert box_levels(boxes, 2).tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("mode", ["pyramid", "backbone"])
def test_no_boxes_give_no_rows(mode):
    features = [torch.randn(2, 4, 16, 16, requires_grad=True), torch.randn(2, 4, 8, 8)]
    pooled = RegionPooler([4, 8], mode=mode, pooling="mask")(
        features,
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.long),
        torch.zeros(0, 16, 16, dtype=torch.bool),
    )
    assert pooled.shape[0] == 0
    pooled.sum().backward()


def test_mask_pooling_averages_over_the_mask():
    feature = torch.zeros(1, 1, 16, 16)
    feature[..., :8] = 3.0
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[:, 2:14, 2:6] = True
    box = torch.tensor([[0.0, 0, 64, 64]])
    pooler = RegionPooler([4], roi_size=4, pooling="mask")
    pooled = pooler([feature], box, torch.zeros(1, dtype=torch.long), mask)
    assert pooled.mean().item() == pytest.approx(3.0, abs=1e-5)
    assert pooled[0, 0, :, 2:].abs().max() == 0


def test_boxes_without_a_mask_or_beside_it_pool_the_whole_box():
    feature, masks = torch.randn(1, 2, 16, 16), torch.zeros(2, 16, 16, dtype=torch.bool)
    masks[0, :4, :4] = True
    boxes = torch.tensor([[32.0, 32, 60, 60]] * 3)
    index, own = torch.zeros(3, dtype=torch.long), torch.tensor([-1, 0, 1])
    by_box = RegionPooler([4], roi_size=3)([feature], boxes, index)
    by_mask = RegionPooler([4], roi_size=3, pooling="mask")([feature], boxes, index, masks, own)
    assert torch.equal(by_box, by_mask)


def test_degenerate_boxes_stay_finite():
    boxes = torch.tensor([[5.0, 5, 5, 5], [9, 9, 3, 3]])
    for mode in ("pyramid", "backbone"):
        pooled = RegionPooler([4], mode=mode)(
            [torch.randn(1, 2, 8, 8)], boxes, torch.zeros(2, dtype=torch.long)
        )
        assert pooled.isfinite().all()
