"""The vectorised SOLOv2 branch against its loop oracles, on random cases."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import matrix_nms as nms_oracle
from oracles import segmentation as loss_oracle
from oracles.solov2_targets import assign
from sapnet.losses.segmentation import segmentation_sums
from sapnet.losses.solov2_targets import assign_targets
from sapnet.ops.matrix_nms import matrix_nms
from segmentation_builders import as_cells, as_prompts, random_labels, random_outputs

SEEDS = st.integers(0, 2**31 - 1)


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.integers(0, 7), st.sampled_from([0.1, 0.2, 0.6, 1.5]))
def test_assigned_cells_equal_the_oracle(seed, count, sigma):
    labels = random_labels(seed, count=count, num_masks=3)
    grids, ranges = [9, 6, 3], [(1, 20), (12, 40), (30, 60)]
    targets = assign_targets(labels, num_grids=grids, scale_ranges=ranges, center_sigma=sigma)
    assert as_cells(targets, grids) == assign(as_prompts(labels), grids, ranges, sigma, 4)


@settings(deadline=None, max_examples=6)
@given(SEEDS, st.integers(1, 4), st.sampled_from([0.0, 0.5]))
def test_loss_sums_equal_the_oracle(seed, num_masks, alternate_weight):
    labels = random_labels(seed, count=3, num_masks=num_masks, grid=(8, 10))
    outputs = random_outputs(seed, grid=(8, 10))
    ranges = [(1, 16), (10, 40)]
    sums = segmentation_sums(outputs, labels, scale_ranges=ranges, alternate_weight=alternate_weight)
    prompts = as_prompts(labels)
    expected = loss_oracle.losses(
        [x.tolist() for x in outputs.category_logits],
        [x.tolist() for x in outputs.kernels],
        outputs.mask_features.flatten(2).tolist(),
        prompts,
        assign(prompts, [5, 3], ranges, 0.2, 4),
        alternate_weight,
        max(1, num_masks - 1),
        0.25,
        2.0,
    )
    actual = [sums.category.item(), sums.mask.item(), sums.num_positive_cells.item()]
    assert actual == pytest.approx(expected, rel=1e-4, abs=1e-5)


@settings(deadline=None, max_examples=10)
@given(SEEDS)
def test_the_weighted_category_sum_equals_the_oracle(seed):
    labels, outputs = random_labels(seed, count=3, grid=(8, 10)), random_outputs(seed, grid=(8, 10))
    ranges = [(1, 16), (10, 40)]
    known = torch.rand(2, 8, 10, generator=torch.Generator().manual_seed(seed))
    sums = segmentation_sums(outputs, labels, scale_ranges=ranges, known=known)
    prompts = as_prompts(labels)
    expected = loss_oracle.known_category(
        [x.tolist() for x in outputs.category_logits],
        prompts,
        assign(prompts, [5, 3], ranges, 0.2, 4),
        known.tolist(),
        0.25,
        2.0,
    )
    assert sums.category.item() == pytest.approx(expected, rel=1e-4)
    assert sums.mask.item() == segmentation_sums(outputs, labels, scale_ranges=ranges).mask.item()


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.integers(0, 14), st.integers(0, 18))
def test_unknown_cells_have_no_influence_and_picked_ones_all_of_it(seed, top, left):
    labels, ranges, grids = random_labels(seed, count=3), [(1, 30), (20, 100)], [5, 3]
    known = torch.ones(2, 16, 20)
    known[:, top:, left:] = 0

    def slopes(**options):
        outputs = random_outputs(seed, grids=grids, requires_grad=True)
        segmentation_sums(outputs, labels, scale_ranges=ranges, **options).category.backward()
        return [level.grad.flatten(2) for level in outputs.category_logits]

    targets = assign_targets(labels, num_grids=grids, scale_ranges=ranges)
    targets = targets[targets.rank == 0]
    for level, (weighted, full) in enumerate(zip(slopes(known=known), slopes(), strict=True)):
        own = targets[targets.level == level]
        picked = torch.zeros(2, 1, grids[level] ** 2, dtype=torch.bool)
        picked[own.image, 0, own.cell] = True
        shares = [
            [
                loss_oracle.mean_of_touched(image, *divmod(cell, grids[level]), grids[level])
                for cell in range(grids[level] ** 2)
            ]
            for image in known.tolist()
        ]
        share = torch.tensor(shares)[:, None].masked_fill(picked, 1.0)
        assert torch.equal(weighted == 0, (share == 0).expand_as(full))
        assert torch.allclose(weighted, share * full, rtol=1e-5)
        assert torch.equal(weighted[picked.expand_as(full)], full[picked.expand_as(full)])


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.integers(0, 8), st.sampled_from(["gaussian", "linear"]))
def test_decayed_scores_equal_the_oracle_and_never_grow(seed, count, kernel):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(count, 3, 4, generator=generator) > 0.5
    labels = torch.randint(0, 2, (count,), generator=generator)
    scores = torch.randint(1, 6, (count,), generator=generator) / 6  # ties are common
    decayed = matrix_nms(masks, labels, scores, kernel=kernel, sigma=1.5)
    cells = [{int(i) for i in mask.flatten().nonzero()} for mask in masks]
    expected = nms_oracle.decayed_scores(cells, labels.tolist(), scores.tolist(), kernel, 1.5)
    assert decayed.tolist() == pytest.approx(expected, abs=1e-5)
    assert (decayed <= scores).all()
