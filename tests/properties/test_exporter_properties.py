"""Any mask survives every format that can hold it."""

import json

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from export_builders import label_set, square
from oracles import exported_files as oracle
from sapnet.data.rle import decode_masks
from sapnet.exporters.coco import coco_document
from sapnet.exporters.cvat import cvat_xml
from sapnet.exporters.label_studio import label_studio_tasks, packed_runs
from sapnet.exporters.labelme import labelme_files
from sapnet.exporters.losses import Losses
from sapnet.exporters.polygons import joined, mask_parts, outline, polygons_to_counts, simplified
from sapnet.exporters.voc import voc_files
from sapnet.exporters.yolo import yolo_files
from sapnet.labels.label_set import labels_from_json

FEW = settings(deadline=None, max_examples=25, derandomize=True)
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))
MASKS = SIZES.flatmap(lambda size: arrays(bool, size))


@st.composite
def label_sets(draw):
    """One image with up to three objects, some of them empty."""
    size = draw(SIZES)
    masks = draw(st.lists(arrays(bool, size), max_size=3))
    keys = [
        {"score": draw(st.floats(0, 1)), "point": [0.5, 0.25]} if draw(st.booleans()) else {} for _ in masks
    ]
    objects = [(draw(st.sampled_from([0, 7])), mask, more) for mask, more in zip(masks, keys, strict=True)]
    return label_set([(size, objects)]), [(label, mask) for label, mask, _ in objects if mask.any()]


def assert_same(found, objects, names=None):
    names = names or {0: "cat", 7: "a dog"}
    assert [label for label, _ in found] == [names[label] for label, _ in objects]
    for (_, mask), (_, wanted) in zip(found, objects, strict=True):
        np.testing.assert_array_equal(mask, wanted)


@FEW
@given(MASKS)
def test_rings_enclose_exactly_the_mask_by_both_rules_and_in_pycocotools(mask):
    parts = mask_parts(mask)
    assert sum(part.area for part in parts) == mask.sum()
    if not parts:
        return
    whole = joined([ring for part in parts for ring in (part.outer, *part.holes)])
    drawn_in = outline([ring for part in parts for ring in (part.outer, *part.holes)])
    one_by_one = [joined([part.outer, *part.holes]) for part in parts]
    np.testing.assert_array_equal(oracle.filled(whole.tolist(), mask.shape), mask)
    np.testing.assert_array_equal(oracle.winding_filled(whole.tolist(), mask.shape), mask)
    np.testing.assert_array_equal(oracle.filled(drawn_in.tolist(), mask.shape), mask)
    for rings in ([whole], one_by_one, [drawn_in]):
        np.testing.assert_array_equal(
            decode_masks([polygons_to_counts(rings, mask.shape)], mask.shape)[0], mask
        )


@FEW
@given(MASKS)
def test_rings_step_along_pixel_edges_and_lose_nothing_when_simplified(mask):
    for part in mask_parts(mask):
        for ring in (part.outer, *part.holes):
            steps = np.abs(ring - np.roll(ring, 1, axis=0)).sum(axis=1)
            assert set(steps.tolist()) == {1}
            short = simplified(ring).tolist()
            np.testing.assert_array_equal(
                oracle.filled(short, mask.shape), oracle.filled(ring.tolist(), mask.shape)
            )


@st.composite
def crosses(draw):
    """Two rectangles with a pixel in common: corners of both kinds, no pixels that touch at a corner only."""
    size = (12, 14)
    y, x = draw(st.integers(0, 11)), draw(st.integers(0, 13))
    mask = np.zeros(size, dtype=bool)
    for _ in range(2):
        top, left = draw(st.integers(0, y)), draw(st.integers(0, x))
        mask |= square(size, top, left, draw(st.integers(y + 1, 12)), draw(st.integers(x + 1, 14)))
    return mask


@FEW
@given(crosses())
def test_outlines_cut_to_whole_pixels_are_exact_in_opencv(mask):
    (part,) = mask_parts(mask)
    drawn = np.zeros(mask.shape, dtype=np.uint8)
    cv2.fillPoly(drawn, [outline([part.outer]).astype(np.int32)], 1)
    np.testing.assert_array_equal(drawn > 0, mask)


@FEW
@given(arrays(np.uint8, st.integers(1, 700), elements=st.sampled_from([0, 255])))
def test_packed_runs_unpack_to_the_same_bytes(values):
    assert oracle.unpack_runs(packed_runs(values)) == values.tolist()


@FEW
@given(label_sets())
def test_masks_survive_coco_in_both_forms(made):
    labels, objects = made
    for shapes in ("mask", "polygon"):
        document = json.loads(json.dumps(coco_document(labels, Losses(), shapes=shapes)))
        again = labels_from_json(document, "again")
        found = [
            (again.name_of_row(row), again.mask_of(row))
            for row in range(len(again))
            if again.mask_of(row).any()
        ]
        assert_same(found, objects)
        for row, entry in enumerate(document["annotations"]):
            assert entry["iscrowd"] == 0
            assert entry["area"] == again.mask_of(row).sum()


@FEW
@given(label_sets())
def test_masks_survive_labelme_label_studio_and_cvat_in_both_forms(made):
    labels, objects = made
    for shapes in ("mask", "polygon"):
        ((_, data),) = labelme_files(labels, Losses(), shapes=shapes)
        assert_same(oracle.read_labelme(data), objects)
        (task,) = json.loads(json.dumps(label_studio_tasks(labels, Losses(), shapes=shapes)))
        assert_same(oracle.read_label_studio(task), objects)
        assert_same(oracle.read_cvat(cvat_xml(labels, Losses(), shapes=shapes))["0.jpg"], objects)


@FEW
@given(label_sets(), st.sampled_from([int, round]))
def test_bridged_yolo_rows_cover_whole_masks(made, to_whole):
    labels, objects = made
    files = dict(yolo_files(labels, Losses(), parts="bridge"))
    (rows,) = (data.decode() for path, data in files.items() if path.suffix == ".txt")
    found = oracle.read_yolo(rows, labels.images.size(0), to_whole)
    assert [label for label, _ in found] == [{0: 0, 7: 1}[label] for label, _ in objects]
    for (_, mask), (_, wanted) in zip(found, objects, strict=True):
        assert (mask | ~wanted).all()


@FEW
@given(crosses(), st.sampled_from([int, round]))
def test_crosses_are_exact_in_yolo(mask, to_whole):
    files = dict(yolo_files(label_set([(mask.shape, [(0, mask, {})])]), Losses()))
    (rows,) = (data.decode() for path, data in files.items() if path.suffix == ".txt")
    assert_same(oracle.read_yolo(rows, mask.shape, to_whole), [(0, mask)], {0: 0})


@FEW
@given(label_sets())
def test_split_and_largest_yolo_rows_are_as_many_as_is_counted(made):
    labels, objects = made
    sizes = [sorted(part.area for part in mask_parts(mask)) for _, mask in objects]
    for parts, rows_wanted in (("split", sum(map(len, sizes))), ("largest", len(objects))):
        lost = Losses()
        files = dict(yolo_files(labels, lost, parts=parts))
        (rows,) = (data.decode() for path, data in files.items() if path.suffix == ".txt")
        assert len(oracle.read_yolo(rows, labels.images.size(0))) == rows_wanted
        if parts == "split":
            assert lost["rows_added_by_splitting"] == rows_wanted - len(objects)
        else:
            assert lost["pixels_dropped"] == sum(sum(areas[:-1]) for areas in sizes)


@FEW
@given(label_sets())
def test_voc_pictures_give_every_pixel_to_the_highest_score(made):
    labels, _ = made
    lost = Losses()
    files = {str(path): data for path, data in voc_files(labels, lost)}
    by_object = oracle.read_indices(files["SegmentationObject/0.png"])
    by_class = oracle.read_indices(files["SegmentationClass/0.png"])
    rows = [row for row in range(len(labels)) if labels.mask_of(row).any()]
    scores = np.nan_to_num(labels.scores)
    hidden = 0
    for y in range(by_object.shape[0]):
        for x in range(by_object.shape[1]):
            at = [row for row in rows if labels.mask_of(row)[y, x]]
            hidden += max(0, len(at) - 1)
            if not at:
                assert by_object[y, x] == by_class[y, x] == 0
                continue
            best = max(at, key=lambda row: (scores[row], -labels.mask_of(row).sum(), row))
            assert by_object[y, x] == rows.index(best) + 1
            assert by_class[y, x] == labels.annotation_labels[best] + 1
    assert lost["hidden_pixels"] == hidden
