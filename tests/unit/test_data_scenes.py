"""The embedded scenes: reproducible, exact, and as hard as they claim to be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sapnet.data.annotations import load_instances, load_points
from sapnet.data.check import check_points
from sapnet.data.rle import decode_masks
from sapnet.data.scene_layout import PlacedPart, fill
from sapnet.data.scene_shapes import CLASSES, bar, box, disc, draw_parts
from sapnet.data.scenes import draw_scene, write_scenes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenes")
    write_scenes(path, num_train=8, num_val=2, seed=3)
    return path


def test_the_files_load_and_pass_the_check(folder):
    report = check_points(folder / "points_train.json", folder / "images")
    assert report.ok
    assert report.summary["images"] == 8
    assert len(load_instances(folder / "instances_val.json").images) == 2
    assert len(list((folder / "images").iterdir())) == 10


def test_equal_seeds_give_equal_scenes_and_scenes_do_not_depend_on_each_other(folder, tmp_path):
    write_scenes(tmp_path, num_train=1, num_val=0, seed=3)
    first = "images/train_0001.png"
    assert (tmp_path / first).read_bytes() == (folder / first).read_bytes()
    assert draw_scene(4, 1)[1] != draw_scene(3, 1)[1]


def test_every_image_has_two_to_six_objects_with_visible_disjoint_masks(folder):
    instances = load_instances(folder / "instances_train.json")
    for index in range(len(instances.images)):
        rows = instances.rows_of(index)
        masks = decode_masks(instances.counts.take(rows), instances.images.size(index))
        assert 2 <= len(rows) <= 6
        assert masks.sum(axis=0).max() == 1
        assert masks.sum(axis=(1, 2)).min() >= 80


def test_the_parts_of_an_object_add_up_to_its_mask(folder):
    instances = load_instances(folder / "instances_train.json")
    for row in range(len(instances)):
        size = instances.images.size(int(instances.annotation_image_index[row]))
        parts = decode_masks(instances.parts(row), size)
        assert len(parts) >= 2
        assert parts.any(axis=(1, 2)).all()
        assert (parts.sum(axis=0) == decode_masks([instances.counts[row]], size)[0]).all()


def test_clicks_lie_on_their_objects_and_carry_their_ids(folder):
    instances = load_instances(folder / "instances_train.json")
    points = load_points(folder / "points_train.json")
    assert points.annotation_ids.tolist() == instances.annotation_ids.tolist()
    for row, (x, y) in enumerate(points.xy):
        size = instances.images.size(int(instances.annotation_image_index[row]))
        assert decode_masks([instances.counts[row]], size)[0, int(y), int(x)]


def test_neighbours_of_one_class_touch_in_a_good_share_of_the_images(folder):
    instances = load_instances(folder / "instances_train.json")
    touching = 0
    for index in range(len(instances.images)):
        rows = instances.rows_of(index)
        masks = decode_masks(instances.counts.take(rows), instances.images.size(index))
        grown = [cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) > 0 for mask in masks]
        labels = instances.annotation_labels[rows]
        touching += any(
            labels[i] == labels[j] and (grown[i] & masks[j]).any() for i in range(len(rows)) for j in range(i)
        )
    assert touching >= len(instances.images) // 2


def test_pixels_change_at_object_borders_where_the_masks_say(folder):
    instances = load_instances(folder / "instances_train.json")
    image = cv2.imread(str(folder / "images" / instances.images.file_names[0])).astype(float)
    union = decode_masks(instances.counts.take(instances.rows_of(0)), instances.images.size(0)).any(axis=0)
    step = np.abs(np.diff(image, axis=1)).sum(axis=2)
    border = union[:, 1:] != union[:, :-1]
    assert step[border].mean() > 1.5 * step[~border].mean()


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_is_made_of_three_colour_roles_within_its_frame(name):
    for seed in range(5):
        parts = draw_parts(name, np.random.default_rng(seed))
        assert {part.role for part in parts} == {"body", "limb", "head"}
        assert all(np.abs(part.outline).max() < 1.1 for part in parts)


def test_filling_covers_the_outlined_area():
    for outline, area in [
        (box(20, 20, 10, 6), 60),
        (disc(20, 20, 8), np.pi * 64),
        (bar(10, 20, 30, 20, 6), 120 + np.pi * 9),
    ]:
        canvas = np.zeros((40, 40), dtype=np.uint8)
        fill(canvas, outline, 1)
        # OpenCV also fills the pixels that the outline only touches.
        assert area * 0.95 <= canvas.sum() <= area * 1.35
    assert PlacedPart(box(0, 0, 1, 1), np.zeros(3), 0).texture == 0
