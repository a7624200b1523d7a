"""Clicks sampled from masks: inside, seeded per annotation, with the fallbacks of the paper."""

from __future__ import annotations

import numpy as np
import pytest

from data_builders import box_mask, document, image_entry
from sapnet.data.instances import instances_from_json
from sapnet.data.point_sampling import quasi_center, sample_points
from sapnet.data.rle import encode_mask
from sapnet.errors import InputError

SIZE = (48, 64)


def segmentation(mask):
    return {"size": list(mask.shape), "counts": encode_mask(mask).decode()}


def instance(number, mask, **more):
    return {
        "id": number,
        "image_id": 1,
        "category_id": 0,
        "segmentation": segmentation(mask) if isinstance(mask, np.ndarray) else mask,
        **more,
    }


def sample(annotations, mode, seed=0, **more):
    return sample_points(instances_from_json(document(annotations, **more), "instances"), mode, seed)


def ring():
    return box_mask(SIZE, 10, 10, 40, 40) & ~box_mask(SIZE, 14, 14, 36, 36)


@pytest.mark.parametrize("mode", ["center", "quasi-center", "random"])
def test_a_click_lies_on_its_mask_even_if_that_has_a_hole(mode):
    masks = [ring(), box_mask(SIZE, 0, 0, 64, 48), box_mask(SIZE, 60, 44, 64, 48)]
    for seed in range(10):
        points = sample([instance(i, mask) for i, mask in enumerate(masks)], mode, seed)
        for mask, (x, y) in zip(masks, points.xy, strict=True):
            assert mask[int(y), int(x)]


@pytest.mark.parametrize("mode", ["quasi-center", "random"])
def test_a_click_depends_on_seed_and_annotation_id_alone(mode):
    annotations = [instance(i, ring()) for i in (3, -1, 8)]
    points, turned = sample(annotations, mode), sample(annotations[::-1], mode)
    assert points.xy.tolist() == turned.xy[::-1].tolist()
    assert sample(annotations[1:2], mode).xy.tolist() == points.xy[1:2].tolist()
    assert sample(annotations, mode, seed=1).xy.tolist() != points.xy.tolist()
    assert len({tuple(point) for point in points.xy.tolist()}) == 3


def test_crowds_get_no_click_and_ids_images_and_categories_stay():
    points = sample(
        [instance(5, ring()), instance(6, ring(), iscrowd=1), instance(9, ring(), ignore=1)],
        "center",
        images=[image_entry(license=4), image_entry(2, "empty.png")],
        info={"a": 1},
        secret=1,
    )
    assert points.annotation_ids.tolist() == [5, 9]
    assert len(points.images) == 2
    assert "license" in points.images.extras[0]
    assert "secret" not in points.extra


def test_no_ground_truth_gets_into_the_points_file(tmp_path):
    from sapnet.data.annotations import save_points

    save_points(
        sample([instance(5, ring(), area=1.0, bbox=[0, 0, 1, 1], parts=[])], "center"), tmp_path / "p"
    )
    text = (tmp_path / "p").read_text()
    assert not any(key in text for key in ("segmentation", "bbox", "area", "parts", "counts"))


@pytest.mark.parametrize("mode", ["center", "quasi-center", "random"])
def test_an_empty_mask_gets_a_vertex_or_the_centre_of_its_box(mode):
    points = sample(
        [
            instance(1, [[5, 6, 7, 8]]),
            instance(2, [], bbox=[10, 20, 4, 6]),
            instance(3, [], bbox=[90, 90, 4, 4]),
        ],
        mode,
    )
    assert points.xy[0].tolist() in ([5, 6], [7, 8])
    assert points.xy[1].tolist() == [12, 23]
    assert points.xy[2, 0] < 64
    assert points.xy[2, 1] < 48


def test_a_thin_instance_gets_a_polygon_vertex_as_quasi_centre():
    polygon = [3, 3, 30, 3, 30, 4, 3, 4]
    (point,) = sample([instance(1, [polygon])], "quasi-center").xy.tolist()
    assert point in ([3, 3], [30, 3], [30, 4], [3, 4])
    assert sample([instance(1, [polygon])], "center").xy[0, 1] == 3.5


def test_the_centre_is_the_mask_pixel_nearest_the_centroid():
    mask = box_mask(SIZE, 2, 4, 7, 7)
    assert sample([instance(1, mask)], "center").xy.tolist() == [[4.5, 5.5]]


def test_a_full_box_is_clicked_in_its_central_ellipse():
    rng = np.random.default_rng(0)
    drawn = np.array([quasi_center(np.ones((40, 80), dtype=bool), rng) for _ in range(100)]) - [40, 20]
    # Semi-axes 10 and 5, plus half a pixel of jitter.
    assert (np.hypot(drawn[:, 0] / 10.8, drawn[:, 1] / 5.8) <= 1).all()


def test_an_unknown_mode_is_told_with_the_nearest_one():
    with pytest.raises(InputError, match="did you mean 'center'"):
        sample([], "centre")


def test_no_instances_give_no_clicks():
    assert sample([], "random").xy.shape == (0, 2)
