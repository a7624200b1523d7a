"""What the boundary network should answer."""

import numpy as np

from sapnet.proposals.builtin.boundary_targets import (
    annotator_share,
    label_borders,
    object_targets,
    region_targets,
)
from sapnet.proposals.builtin.strides import OBJECT_CHANNEL, REGION_CHANNEL


def square(size, left, top, right, bottom):
    mask = np.zeros((size, size), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


NOTHING = np.zeros((32, 32), dtype=bool)


def test_a_border_has_a_pixel_on_either_side():
    labels = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 2, 2]])
    assert label_borders(labels).astype(int).tolist() == [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_the_share_of_annotators_allows_for_a_pixel():
    first, second = np.zeros((9, 20), dtype=int), np.zeros((9, 20), dtype=int)
    first[:, 10:] = 1
    second[:, 12:] = 1
    # Borders at 9, 10 and 11, 12; each may be off by one.
    assert (
        annotator_share([first, second])[4].tolist()
        == [0.0] * 8 + [0.5] * 2 + [1.0] * 2 + [0.5] * 2 + [0.0] * 6
    )


def test_region_photographs_teach_nothing_about_objects():
    targets = region_targets(np.eye(16, dtype=np.float32))
    assert targets.boundary[REGION_CHANNEL].tolist() == np.eye(8).tolist()
    assert targets.boundary_weight[REGION_CHANNEL].min() == 1
    assert targets.boundary_weight[OBJECT_CHANNEL].max() == 0
    assert targets.inside_weight.max() == targets.distances_weight.max() == 0


def test_of_a_completely_labelled_photograph_everything_is_known():
    targets = object_targets(square(32, 8, 8, 24, 24)[None], NOTHING, complete=True)
    assert targets.boundary_weight[OBJECT_CHANNEL].min() == 1
    assert targets.inside_weight.min() == 1
    assert targets.inside[0].sum() == 16
    assert targets.boundary_weight[REGION_CHANNEL].max() == 0


def test_beside_a_lone_object_nothing_is_known():
    targets = object_targets(square(32, 8, 8, 24, 24)[None], NOTHING, complete=False)
    weight = targets.boundary_weight[OBJECT_CHANNEL]
    assert weight[8, 8] == weight[3, 8] == 1  # in the object and just beside it
    assert weight[0].max() == weight[:, -1].max() == 0
    assert targets.inside_weight[0, 3, 3] == 1
    assert 0 < targets.inside_weight[0, 1, 4] < 1
    assert targets.inside_weight[0, 0, 0] == 0


def test_nothing_is_known_in_a_crowd():
    targets = object_targets(square(32, 0, 0, 8, 8)[None], square(32, 16, 0, 32, 32), complete=True)
    assert targets.boundary_weight[OBJECT_CHANNEL][:, 8:].max() == 0
    assert targets.boundary_weight[OBJECT_CHANNEL][:, :8].min() == 1
    assert targets.inside_weight[0][:, 4:].max() == 0


def test_distances_lead_to_the_sides_of_the_box_of_the_smaller_object():
    masks = np.stack([square(32, 12, 12, 20, 20), square(32, 0, 0, 32, 28)])
    targets = object_targets(masks, NOTHING, complete=True)
    # The centre of cell (row 3, column 4) is (18, 14).
    assert targets.distances[:, 3, 4].tolist() == [6, 2, 2, 6]
    assert targets.distances[:, 0, 0].tolist() == [2, 2, 30, 26]
    assert targets.distances_weight[0, 7].max() == 0


def test_a_crop_without_objects_has_ground_only():
    none = np.zeros((0, 32, 32), dtype=bool)
    complete, partial = (object_targets(none, NOTHING, complete=flag) for flag in (True, False))
    assert complete.inside_weight.min() == 1
    assert complete.inside.max() == complete.distances.max() == 0
    assert partial.inside_weight.max() == partial.boundary_weight.max() == 0
