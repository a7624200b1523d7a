"""Outlines, run lengths, rows and colours worked out by hand."""

import numpy as np

from sapnet.exporters.cvat import row_major_runs
from sapnet.exporters.label_studio import packed_runs
from sapnet.exporters.losses import Losses
from sapnet.exporters.polygons import joined, mask_parts, polygons_to_counts, simplified
from sapnet.exporters.voc import voc_palette
from sapnet.exporters.yolo import yolo_files
from sapnet.labels.label_set import labels_from_json


def picture(*rows):
    return np.array([[character == "#" for character in row] for row in rows])


def as_cycle(ring):
    """The vertices from the first in reading order on."""
    points = [tuple(point) for point in ring.tolist()]
    start = points.index(min(points, key=lambda point: (point[1], point[0])))
    return points[start:] + points[:start]


def test_one_pixel_has_its_four_corners_as_outline():
    (part,) = mask_parts(picture("...", ".#.", "..."))
    assert as_cycle(simplified(part.outer)) == [(1, 1), (2, 1), (2, 2), (1, 2)]
    assert part.area == 1
    assert part.holes == ()


def test_an_l_has_six_corners():
    (part,) = mask_parts(picture("#.", "##"))
    assert as_cycle(simplified(part.outer)) == [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (0, 2)]


def test_a_hole_runs_the_other_way():
    (part,) = mask_parts(picture("###", "#.#", "###"))
    assert as_cycle(simplified(part.outer)) == [(0, 0), (3, 0), (3, 3), (0, 3)]
    assert [as_cycle(simplified(hole)) for hole in part.holes] == [[(1, 1), (1, 2), (2, 2), (2, 1)]]
    assert part.area == 8


def test_a_hole_is_joined_by_a_seam_passed_twice():
    (part,) = mask_parts(picture("###", "#.#", "###"))
    ring = joined([part.outer, *part.holes])
    # Four corners outside, four inside, and both ends of the seam twice (one may be a corner already).
    assert len(ring) in (10, 11, 12)
    assert polygons_to_counts([ring], (3, 3)) == polygons_to_counts(
        [np.array([[0, 0], [3, 0], [3, 1], [1, 1], [1, 2], [3, 2], [3, 3], [0, 3]]),
         np.array([[2, 1], [3, 1], [3, 2], [2, 2]])], (3, 3)
    )  # fmt: skip


def test_diagonal_pixels_are_one_part_and_their_gap_is_no_hole():
    (part,) = mask_parts(picture("#.", ".#"))
    assert len(simplified(part.outer)) == 8
    assert part.holes == ()


def test_parts_come_by_falling_area():
    parts = mask_parts(picture("#..##", "....#"))
    assert [part.area for part in parts] == [3, 1]


def test_runs_of_cvat_start_with_empty_pixels():
    assert row_major_runs(picture("##.", ".##")) == [0, 2, 2, 2]
    assert row_major_runs(picture(".#", "#.")) == [1, 2, 1]


def test_packed_runs_of_one_filled_pixel():
    # 32 bits: 4 values; 00111 0010 0011 0111 1111: widths; 1 00 011 11111111: four times 255.
    assert packed_runs(np.full(4, 255, dtype=np.uint8)) == [0, 0, 0, 4, 57, 27, 252, 127, 224]


def test_the_palette_is_vocs():
    palette = voc_palette()
    assert palette[0].tolist() == [0, 0, 0]
    assert palette[1].tolist() == [128, 0, 0]
    assert palette[15].tolist() == [192, 128, 128]
    assert palette[20].tolist() == [0, 64, 128]
    assert palette[255].tolist() == [224, 224, 192]


def test_a_yolo_row_runs_over_the_first_and_last_pixels_of_the_mask():
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 8, "height": 3}],
        "categories": [{"id": 4, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 4, "segmentation": [[2, 0, 8, 0, 8, 1, 2, 1]]},
        ],
    }  # fmt: skip
    files = {str(path): data for path, data in yolo_files(labels_from_json(document, "x"), Losses())}
    number, *values = files["labels/train/a.txt"].decode().split()
    pairs = {(values[place], values[place + 1]) for place in range(0, len(values), 2)}
    assert number == "0"
    # Pixels 2 to 7 of 8 and 0 to 0 of 3, each and a quarter: 2.25 / 8, 0.25 / 3 and 7.25 / 8.
    corners = {("0.281250", "0.083333"), ("0.906250", "0.083333")}
    assert pairs == corners
