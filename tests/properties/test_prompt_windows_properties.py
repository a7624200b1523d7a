"""Windows of the promptable head against their loop oracles, and masks pasted back."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import prompt_windows as oracle
from sapnet.proposals.builtin.mask_pasting import paste_masks
from sapnet.proposals.builtin.prompt_windows import (
    DISC_DEVIATION,
    WindowPrompts,
    cut_windows,
    prompt_centers,
    prompt_channels,
    reference_weights,
)

CELLS = 5
FEW = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def some_prompts(rng, count=3, points=4):
    boxes = np.sort(rng.uniform(0, 40, (count, 2, 2)), axis=1).reshape(count, 4)
    boxes[rng.uniform(size=count) < 0.4] = np.nan
    return WindowPrompts(
        image_index=torch.from_numpy(rng.integers(0, 2, count)),
        centers=torch.from_numpy(rng.uniform(-5, 45, (count, 2))).float(),
        sides=torch.from_numpy(rng.uniform(5, 60, count)).float(),
        point_xy=torch.from_numpy(rng.uniform(0, 40, (points, 2))).float(),
        point_positive=torch.from_numpy(rng.uniform(size=points) < 0.6),
        point_window=torch.from_numpy(np.sort(rng.integers(0, count, points))),
        boxes=torch.from_numpy(boxes).float(),
    )


def windows_of(prompts):
    return torch.cat([prompts.centers, prompts.sides[:, None]], dim=1).tolist()


@FEW
@given(seeds)
def test_prompts_are_drawn_as_the_loops_draw_them(seed):
    prompts = some_prompts(np.random.default_rng(seed))
    channels = prompt_channels(prompts, CELLS).double()
    for index, window in enumerate(windows_of(prompts)):
        of_window = prompts.point_window == index
        for channel, chosen in ((0, prompts.point_positive), (1, ~prompts.point_positive)):
            points = prompts.point_xy[of_window & chosen].tolist()
            expected = torch.tensor(oracle.disc(points, window, CELLS, DISC_DEVIATION)).double()
            assert torch.allclose(channels[index, channel], expected, atol=1e-4)
        box = prompts.boxes[index].tolist()
        expected = (
            torch.zeros(CELLS, CELLS).double()
            if np.isnan(box[0])
            else torch.tensor(oracle.box_share(box, window, CELLS)).double()
        )
        assert torch.allclose(channels[index, 2], expected, atol=1e-4)


@FEW
@given(seeds)
def test_windows_are_cut_as_the_loops_cut_them(seed):
    rng = np.random.default_rng(seed)
    prompts = some_prompts(rng)
    strides = (2, 8)
    maps = [torch.from_numpy(rng.normal(size=(2, 1, 40 // s, 48 // s))).float() for s in strides]
    cut = cut_windows(maps, strides, prompts, CELLS)
    for index, window in enumerate(windows_of(prompts)):
        cell = window[2] / CELLS
        level = min(range(2), key=lambda i: abs(np.log2(cell / strides[i])))
        values = maps[level][int(prompts.image_index[index]), 0].tolist()
        expected = torch.tensor(oracle.sampled(values, strides[level], window, CELLS))
        assert torch.allclose(cut[index, 0], expected.float(), atol=1e-4)


@FEW
@given(seeds)
def test_the_prompt_is_where_its_points_or_its_box_are(seed):
    prompts = some_prompts(np.random.default_rng(seed))
    middles = prompt_centers(prompts)
    for index in range(3):
        points = prompts.point_xy[(prompts.point_window == index) & prompts.point_positive]
        box = prompts.boxes[index]
        if len(points):
            expected = points.mean(0)
        elif box.isfinite().all():
            expected = (box[:2] + box[2:]) / 2
        else:
            expected = prompts.centers[index]
        assert torch.allclose(middles[index], expected, atol=1e-4)


@FEW
@given(seeds)
def test_reference_weights_add_up_to_one_unless_the_prompt_is_far_off(seed):
    weights = reference_weights(prompt_channels(some_prompts(np.random.default_rng(seed)), CELLS))
    assert (weights.sum((1, 2)) <= 1 + 1e-5).all()
    assert (weights >= 0).all()


@FEW
@given(seeds)
def test_masks_are_pasted_as_the_loops_paste_them(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(2, CELLS, CELLS)).astype(np.float32)
    corner = rng.uniform(-10, 20, (2, 2))
    rectangles = np.concatenate([corner, corner + rng.uniform(5, 30, (2, 1))], axis=1)
    columns, rows = np.arange(0, 24, 2) + 0.5, np.arange(18) + 0.5
    masks = paste_masks(logits, rectangles, columns, rows)
    assert masks.shape == (2, 18, 12)
    for mask, values, rectangle in zip(masks, logits, rectangles, strict=True):
        expected = np.array(oracle.pasted(values.tolist(), rectangle.tolist(), columns, rows))
        assert (mask != expected).mean() < 0.01


@FEW
@given(seeds, st.integers(0, 3), st.integers(0, 3))
def test_some_windows_keep_their_points(seed, start, length):
    prompts = some_prompts(np.random.default_rng(seed))
    stop = min(start + length, 3)
    part = prompts.rows(start, stop)
    whole = prompt_channels(prompts, CELLS)[start:stop]
    assert torch.equal(prompt_channels(part, CELLS), whole)
