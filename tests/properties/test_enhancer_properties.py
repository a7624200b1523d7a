"""Properties of the enhancer's stages, and their loops as oracles."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import enhancer as oracle
from sapnet.enhancer.box_mean import mean_of_best
from sapnet.enhancer.coarse_bags import coarse_boxes
from sapnet.enhancer.refinement_bags import refinement_boxes, shown_share

FEW = settings(deadline=None, max_examples=15)
SIZES = torch.tensor([[96, 128], [60, 30]])


def draw_clicks(seed, count):
    """Clicks in, on the rim of and outside of images of two sizes."""
    g = torch.Generator().manual_seed(seed)
    sizes = SIZES[torch.randint(0, 2, (count,), generator=g)]
    xy = (torch.rand(count, 2, generator=g, dtype=torch.float64) * 1.2 - 0.1) * sizes.flip(-1)
    rim = torch.rand(count, generator=g) < 0.3
    return torch.where(rim[:, None], xy.clamp_max(sizes.flip(-1)).round().clamp_min(0), xy), sizes


@FEW
@given(seed=st.integers(0, 9999), count=st.integers(0, 5), cut=st.sampled_from(["symmetric", "clip"]))
def test_coarse_boxes_equal_the_loop_and_lie_in_the_image(seed, count, cut):
    xy, sizes = draw_clicks(seed, count)
    options = {"base_sizes": (4.0, 30.0, 128.0), "aspect_factors": (1 / 3, 1.0, 2.0), "cut": cut}
    found = coarse_boxes(xy, sizes, **options)
    expected = [oracle.coarse(p, s, **options) for p, s in zip(xy.tolist(), sizes.tolist(), strict=True)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64).reshape(count, 9, 4))
    assert (found >= 0).all()
    assert (found <= sizes.flip(-1).repeat(1, 2)[:, None]).all()


@FEW
@given(seed=st.integers(0, 9999), count=st.integers(0, 4))
def test_boxes_to_refine_equal_the_loop_and_start_with_the_estimate(seed, count):
    xy, sizes = draw_clicks(seed, count)
    boxes = torch.cat([xy - 7, xy + torch.tensor([9.0, 3.0], dtype=torch.float64)], dim=1)
    options = {"scale_factors": (1.0, 1.2, 0.7), "shift": 0.1}
    found = refinement_boxes(boxes, **options)
    expected = [oracle.refinement(box, **options) for box in boxes.tolist()]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64).reshape(count, 45, 4))
    torch.testing.assert_close(found[:, 0], boxes)
    shares = [[oracle.shown(b, s) for b in bag] for bag, s in zip(expected, sizes.tolist(), strict=True)]
    torch.testing.assert_close(
        shown_share(found, sizes), torch.tensor(shares, dtype=torch.float64).reshape(count, 45)
    )


@FEW
@given(seed=st.integers(0, 9999), count=st.integers(1, 9), silent=st.booleans())
def test_the_mean_equals_the_loop_and_lies_among_its_boxes(seed, count, silent):
    g = torch.Generator().manual_seed(seed)
    corners = torch.rand(3, 6, 4, generator=g, dtype=torch.float64) * 50
    scores = torch.rand(3, 6, generator=g, dtype=torch.float64).mul(4).floor() * (0 if silent else 0.25)
    valid = torch.rand(3, 6, generator=g) < 0.6
    valid[2] = False
    confidence = torch.rand(3, 6, generator=g, dtype=torch.float64)
    found = mean_of_best(corners, scores, valid, count=count, confidence=confidence)
    for row in range(3):
        box, sure, usable = oracle.mean_of_best(
            corners[row].tolist(), scores[row].tolist(), valid[row].tolist(), confidence[row].tolist(), count
        )
        torch.testing.assert_close(found.boxes[row], torch.tensor(box, dtype=torch.float64))
        torch.testing.assert_close(found.confidence[row], torch.tensor(sure, dtype=torch.float64))
        assert bool(found.valid[row]) == usable
        if usable:
            inside = corners[row][valid[row]]
            assert (found.boxes[row] >= inside.amin(0) - 1e-9).all()
            assert (found.boxes[row] <= inside.amax(0) + 1e-9).all()


def test_scores_of_other_boxes_never_matter():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [5, 5, 9, 9]]])
    valid = torch.tensor([[True, False]])
    for other in (0.0, 1.0, 99.0):
        found = mean_of_best(boxes, torch.tensor([[0.2, other]]), valid, count=7)
        assert found.boxes.tolist() == [[0, 0, 10, 10]]
