"""The proposal JSON that SAPNet's authors released: into a store and out of one, losing nothing."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from proposal_builders import (
    SIZE,
    box_mask,
    document,
    prompts_at,
    random_proposals,
    same_proposals,
    small_points,
)
from sapnet.data.annotations import points_from_json
from sapnet.data.rle import encode_mask
from sapnet.errors import DataError, InputError, JobError, StoreError
from sapnet.proposals.authors_json import export_authors_json, import_authors_json
from sapnet.proposals.proposer import collect_proposals, prompts_of_image
from sapnet.proposals.store import ProposalStore
from sapnet.proposals.store_writer import StoreWriter

# Six masks as the released file has them: run lengths as text and as numbers, and polygons.
BOXES = [(4, 6, 20, 30), (4, 6, 12, 16), (0, 0, 40, 40), (5, 6, 20, 30), (8, 8, 9, 9), (30, 2, 60, 40)]


def run_lengths(mask):
    return {"size": list(mask.shape), "counts": encode_mask(mask).decode()}


def polygon(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def uncompressed(mask):
    flat = np.concatenate([[False], mask.T.ravel()])
    edges = np.flatnonzero(np.diff(flat.astype(int)))
    return {"size": list(mask.shape), "counts": np.diff([0, *edges, mask.size]).tolist()}


def row(annotation_id, **changes):
    """An annotation in the shape of the released file."""
    masks = [box_mask(SIZE, *box) for box in BOXES]
    entry = {
        "id": annotation_id,
        "image_id": 1,
        "category_id": 7,
        "point": [10.0, 12.0],
        "bbox": [[x, y, right - x, bottom - y] for x, y, right, bottom in BOXES],
        "segmentation": [
            run_lengths(masks[0]),
            uncompressed(masks[1]),
            polygon(*BOXES[2]),
            *map(run_lengths, masks[3:]),
        ],
        "scores": [0.2, 0.9, 0.5],
        "true_bbox": [1.0, 2.0, 3.0, 4.0],
        "area": 12.0,
        "iscrowd": 0,
    }
    return {key: value for key, value in {**entry, **changes}.items() if value is not ...}


def click(annotation_id, **changes):
    return {"id": annotation_id, "image_id": 1, "category_id": 7, "point": [10.0, 12.0], **changes}


def clicks(*entries, images=None):
    return points_from_json(document(entries, images), "points.json")


def written(tmp_path, rows, **changes):
    path = tmp_path / "authors.json"
    path.write_text(json.dumps({**document(rows), **changes}))
    return path


def store_of(points, folder, *, most=4, name="boxes", **more):
    """A store of random proposals for every click of a point set."""
    with StoreWriter(
        folder, proposer_name=name, proposer_settings={"s": 1}, points_digest=points.digest, **more
    ) as writer:
        for index in range(len(points.images)):
            prompts = prompts_of_image(points, index)
            drawn = random_proposals(prompts.image_id, clicks=prompts.num_prompts, most=most)
            writer.append(replace(drawn, annotation_ids=prompts.annotation_ids))
        return writer.finish()


def problems_of(tmp_path, rows, points, **changes):
    with pytest.raises(DataError) as caught:
        import_authors_json(written(tmp_path, rows, **changes), points, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    return caught.value.problems


def test_six_masks_of_the_released_shape_become_a_bag_in_their_order(tmp_path):
    result = import_authors_json(written(tmp_path, [row(3)]), clicks(click(3)), tmp_path / "store")
    bag = result.store.of_image(1)
    assert bag.annotation_ids.tolist() == [3]
    assert np.array_equal(bag.masks(), np.stack([box_mask(SIZE, *box) for box in BOXES]))
    assert bag.boxes.tolist() == [list(map(float, box)) for box in BOXES]
    assert bag.kinds == tuple(f"authors-{i}" for i in range(1, 7))
    # Three scores of six cannot rank six masks.
    assert bag.scores.tolist() == [1.0] * 6
    assert result.store.manifest["proposer"]["name"] == "authors-json"


def test_a_score_for_every_mask_ranks_the_bag(tmp_path):
    scores = [0.1, 0.9, 0.5, 0.5, 0.3, 0.2]
    path = written(tmp_path, [row(3, scores=scores)])
    bag = import_authors_json(path, clicks(click(3)), tmp_path / "store").store.of_image(1)
    assert np.allclose(bag.scores, sorted(scores, reverse=True))
    assert bag.kinds == tuple(f"authors-{i}" for i in (2, 3, 4, 5, 6, 1))


@pytest.mark.parametrize("scores", [..., None, [], [1, 2], [-1.0] * 6, ["x"] * 6, [1e39] * 6, [10**400] * 6])
def test_unusable_scores_keep_the_order(tmp_path, scores):
    path = written(tmp_path, [row(3, scores=scores)])
    bag = import_authors_json(path, clicks(click(3)), tmp_path / "store").store.of_image(1)
    assert bag.scores.tolist() == [1.0] * 6


@pytest.mark.parametrize("truth", [..., [9e9, -5, 0, 1e-3], "absurd", None])
def test_ground_truth_in_the_file_changes_nothing(tmp_path, truth):
    points = clicks(click(3))
    stores = [
        import_authors_json(written(tmp_path, [entry]), points, tmp_path / name).store
        for name, entry in (("a", row(3)), ("b", row(3, true_bbox=truth, area=truth)))
    ]
    assert stores[0].manifest["data_sha256"] == stores[1].manifest["data_sha256"]


def test_ground_truth_masks_are_not_taken_for_proposals(tmp_path):
    found = problems_of(
        tmp_path,
        [
            row(1, bbox=..., segmentation=polygon(1, 1, 9, 9)),
            row(2, bbox=[1, 1, 8, 8], segmentation=run_lengths(box_mask(SIZE, 1, 1, 9, 9))),
        ],
        clicks(click(1), click(2)),
    )
    assert len(found) == 4
    assert sum("is one mask" in problem for problem in found) == 2


@pytest.mark.parametrize("number", [0, 1, 3, 9])
def test_other_numbers_of_proposals_than_six_are_read(tmp_path, number):
    masks = [run_lengths(box_mask(SIZE, 0, 0, 5, 5 + i)) for i in range(number)]
    path = written(tmp_path, [row(3, bbox=[[0, 0, 5, 5]] * number, segmentation=masks, scores=...)])
    bag = import_authors_json(path, clicks(click(3)), tmp_path / "store").store.of_image(1)
    assert bag.areas.tolist() == [25 + 5 * i for i in range(number)]


def test_annotations_in_any_order_are_gathered_by_image(tmp_path):
    images = [{"id": i, "file_name": f"{i}.png", "width": SIZE[1], "height": SIZE[0]} for i in (5, 2, 8)]
    places = {11: 5, 12: 2, 13: 5, 14: 2}
    points = clicks(*(click(key, image_id=place) for key, place in places.items()), images=images)
    rows = [row(key, image_id=places[key], bbox=[[0, 0, 1, 1]] * 6) for key in (14, 13, 12, 11)]
    store = import_authors_json(written(tmp_path, rows, images=images), points, tmp_path / "store").store
    assert store.image_ids.tolist() == [2, 5, 8]
    assert [item.annotation_ids.tolist() for item in store] == [[12, 14], [11, 13], []]
    assert [item.num_proposals for item in store] == [12, 12, 0]


def test_an_empty_mask_is_no_proposal(tmp_path):
    masks = [[], run_lengths(box_mask(SIZE, 0, 0, 5, 5)), run_lengths(np.zeros(SIZE, dtype=bool))]
    path = written(tmp_path, [row(3, bbox=[[0, 0, 0, 0]] * 3, segmentation=masks)])
    bag = import_authors_json(path, clicks(click(3)), tmp_path / "store").store.of_image(1)
    assert bag.kinds == ("authors-2",)


def test_all_problems_are_listed_at_once_and_nothing_is_written(tmp_path):
    rows = [
        row(1, segmentation=...),
        row(2, bbox=[[1, 2, 3, 4]] * 5),
        row(3, segmentation=[run_lengths(np.ones((4, 5), dtype=bool))] * 6),
        row(4, image_id=9, category_id=0, point=[40, 40]),
        row(5),
        row(5),
        row(2**70),
        {"image_id": 1},
        "text",
        row(6, num_proposals=7),
        row(7, segmentation=[[[1, 2, "x"]]] * 6),
        row(8, bbox=7, segmentation=8),
        row(9, point="here"),
    ]
    images = [{"id": 1, "width": 65, "height": 48}, {"id": 99}, {"id": 2**80}, []]
    points = clicks(*(click(i) for i in range(1, 12)))
    found = problems_of(tmp_path, rows, points, images=images)
    for part in (
        "images[0] (id 1) has 65 x 48 pixels, expected 64 x 48",
        "images[3]: expected an object",
        "annotations[0] (id 1): the key 'segmentation' is missing.",
        "(id 2): 'segmentation' has 6 entries, but 'bbox' has 5.",
        "(id 3): segmentation[0]: segmentation has size [4, 5], but the image is [48, 64].",
        "(id 4): its image_id is 9, that of the click is 1.",
        "(id 4): its category_id is 0, that of the click is 7.",
        "(id 4): its point is [40, 40], the click is at [10, 12].",
        "annotations[5] (id 5): the id occurs twice.",
        f"(id {2**70}): no annotation of the points has this id.",
        "annotations[7]: expected an object with an integer 'id'.",
        "annotations[8]: expected an object",
        "(id 6): 'num_proposals' must be a number from 0 to 6, got 7.",
        "(id 7): segmentation[0]: a polygon",
        "(id 8): 'segmentation' must be a list, got int.",
        "(id 8): 'bbox' must be a list of boxes",
        "(id 9): its point is 'here'",
        "annotation 10 of the points has no proposals.",
        "annotation 11 of the points has no proposals.",
    ):
        assert any(part in problem for problem in found), part


def test_many_problems_are_counted(tmp_path):
    found = problems_of(tmp_path, [row(i + 1, bbox=..., segmentation=...) for i in range(200)], clicks())
    assert len(found) == 51
    assert found[-1] == "... and 150 more."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"annotation": []}', "did you mean 'annotation'?"),
        ('{"annotations": {}}', "'annotations' must be a list, got dict."),
        ('{"annotations": [', "the file seems cut off"),
        ("[]", "expected '{'"),
    ],
)
def test_another_file_is_refused(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        import_authors_json(path, clicks(click(1)), tmp_path / "store")
    assert message in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_clicks_half_a_pixel_apart_are_the_same(tmp_path):
    path = written(tmp_path, [row(3, point=[9.5, 11.5])])
    assert (
        import_authors_json(path, clicks(click(3)), tmp_path / "store").store.of_image(1).num_proposals == 6
    )


def test_crowds_that_were_not_clicked_are_left_out(tmp_path):
    rows = [row(3), row(4, iscrowd=1, bbox=..., segmentation=polygon(1, 1, 9, 9)), row(5, ignore=True)]
    result = import_authors_json(written(tmp_path, rows), clicks(click(3)), tmp_path / "store")
    assert (result.crowds, result.unknown, result.without_proposals) == (2, 0, 0)


def test_with_skip_bad_what_does_not_match_is_counted(tmp_path):
    path = written(tmp_path, [row(3), row(4)])
    points = clicks(click(3), click(5), click(6))
    result = import_authors_json(path, points, tmp_path / "store", skip_bad=True)
    assert (result.crowds, result.unknown, result.without_proposals) == (0, 1, 2)
    assert result.store.of_image(1).prompt_index.tolist() == [0] * 6


def test_an_interrupted_import_continues_to_the_same_bytes(tmp_path):
    points = small_points()
    path = tmp_path / "a.json"
    export_authors_json(store_of(points, tmp_path / "first"), points, path, proposals_per_click=None)

    def interrupt(done, total, _proposals):
        if done == total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_authors_json(path, points, tmp_path / "store", progress=interrupt)
    calls = []
    store = import_authors_json(path, points, tmp_path / "store", progress=lambda *c: calls.append(c)).store
    assert [done for done, _, _ in calls] == [4, 5, 6]
    whole = import_authors_json(path, points, tmp_path / "whole").store
    assert store.manifest == whole.manifest
    assert import_authors_json(path, points, tmp_path / "whole").store.manifest == whole.manifest


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    points = small_points()
    path = tmp_path / "a.json"
    export_authors_json(store_of(points, tmp_path / "first"), points, path, proposals_per_click=None)

    def spoil(done, _total, _proposals):
        path.write_text(" " * path.stat().st_size)

    with pytest.raises(JobError, match="changed while it was read"):
        import_authors_json(path, points, tmp_path / "store", progress=spoil)


@pytest.mark.parametrize(("per_click", "most"), [(None, 9), (6, 6), (9, 4)])
def test_a_round_trip_is_exact(tmp_path, per_click, most):
    points = small_points()
    before = store_of(points, tmp_path / "before", most=most)
    path = tmp_path / "a.json"
    done = export_authors_json(before, points, path, proposals_per_click=per_click)
    after = import_authors_json(path, points, tmp_path / "after", skip_bad=True).store
    assert done.cut == 0
    assert before.manifest["data_sha256"] == after.manifest["data_sha256"]
    assert all(same_proposals(a, b) for a, b in zip(before, after, strict=True))
    again = tmp_path / "again.json"
    export_authors_json(after, points, again, proposals_per_click=per_click)
    assert json.loads(again.read_text())["annotations"] == json.loads(path.read_text())["annotations"]


def test_an_export_has_six_proposals_of_every_click_that_has_one(tmp_path):
    points = small_points(num_images=12)
    store = store_of(points, tmp_path / "store", most=9)
    sizes = np.concatenate(
        [np.bincount(item.prompt_index, minlength=len(item.annotation_ids)) for item in store]
    )
    done = export_authors_json(store, points, tmp_path / "a.json")
    rows = json.loads((tmp_path / "a.json").read_text())["annotations"]
    assert len(rows) == done.annotations == (sizes > 0).sum() < len(points)
    assert done[1:] == ((sizes > 6).sum(), ((sizes > 0) & (sizes < 6)).sum(), (sizes == 0).sum())
    for entry in rows:
        assert len(entry["bbox"]) == len(entry["segmentation"]) == len(entry["scores"]) == 6
        assert 0 < entry["num_proposals"] <= 6
        assert entry["area"] > 0
        bag = store.of_image(entry["image_id"])
        first = bag.of_prompt(bag.annotation_ids.tolist().index(entry["id"])).start
        x, y, width, height = entry["bbox"][0]
        assert [x, y, x + width, y + height] == bag.boxes[first].tolist()
        assert entry["segmentation"][entry["num_proposals"] % 6] == entry["segmentation"][0]


def test_the_true_box_of_an_export_is_the_click(tmp_path):
    points = small_points()
    export_authors_json(store_of(points, tmp_path / "store"), points, tmp_path / "a.json")
    exported = json.loads((tmp_path / "a.json").read_text())
    assert "no ground truth" in exported["info"]["true_bbox"]
    for entry in exported["annotations"]:
        x, y, width, height = entry["true_bbox"]
        assert np.allclose([x + width / 2, y + height / 2], entry["point"])
        assert width == height == 2


def test_an_export_is_a_points_file_for_the_coco_readers(tmp_path):
    points = small_points()
    export_authors_json(
        store_of(points, tmp_path / "s"), points, tmp_path / "a.json", proposals_per_click=None
    )
    read = points_from_json(json.loads((tmp_path / "a.json").read_text()), "a.json")
    assert read.digest == points.digest


def test_proposals_from_ground_truth_stay_known_as_such(tmp_path):
    points = small_points()
    export_authors_json(store_of(points, tmp_path / "a", name="simulated"), points, tmp_path / "a.json")
    store = import_authors_json(tmp_path / "a.json", points, tmp_path / "b", skip_bad=True).store
    assert store.manifest["proposer"]["name"] == "simulated"
    assert store.manifest["proposer"]["settings"]["made_with"] == {"s": 1}


def test_a_store_of_other_points_is_not_exported(tmp_path):
    store = store_of(small_points(), tmp_path / "store")
    with pytest.raises(StoreError, match="other points"):
        export_authors_json(store, small_points(shift=0.25), tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


def test_an_export_of_no_proposals_is_refused(tmp_path):
    points = small_points()
    with pytest.raises(InputError, match="proposals_per_click is 0"):
        export_authors_json(
            store_of(points, tmp_path / "s"), points, tmp_path / "a.json", proposals_per_click=0
        )


def test_clicks_of_skipped_images_are_left_out_and_counted(tmp_path):
    points = clicks(click(3), click(4))
    with StoreWriter(
        tmp_path / "s", proposer_name="x", proposer_settings={}, points_digest=points.digest
    ) as writer:
        store = writer.finish([{"image_id": 1, "file_name": "a.png", "reason": "unreadable"}])
    assert export_authors_json(store, points, tmp_path / "a.json") == (0, 0, 0, 2)
    assert json.loads((tmp_path / "a.json").read_text())["annotations"] == []


def test_no_clicks_at_all_make_an_empty_store_and_an_empty_file(tmp_path):
    points = clicks()
    store = import_authors_json(written(tmp_path, []), points, tmp_path / "store").store
    assert store.of_image(1).num_proposals == 0
    assert isinstance(store, ProposalStore)
    assert export_authors_json(store, points, tmp_path / "b.json").annotations == 0


def test_hundreds_of_clicks_on_one_image_take_seconds_at_most(tmp_path):
    random = np.random.default_rng(0)
    points = clicks(*(click(i, point=random.uniform(0, 40, 2).tolist()) for i in range(300)))
    owner = np.repeat(np.arange(300), 6)
    masks = [encode_mask(box_mask(SIZE, i, i, i + 9, i + 7)) for i in range(6)]
    proposals = collect_proposals(
        prompts_at(points.xy, ids=points.annotation_ids),
        SIZE,
        prompt_index=owner,
        counts=masks * 300,
        scores=np.tile([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], 300),
        kinds=["point"] * 1800,
    )
    with StoreWriter(
        tmp_path / "s", proposer_name="x", proposer_settings={}, points_digest=points.digest
    ) as writer:
        writer.append(proposals)
        store = writer.finish()
    start = time.process_time()
    export_authors_json(store, points, tmp_path / "a.json")
    result = import_authors_json(tmp_path / "a.json", points, tmp_path / "t")
    assert time.process_time() - start < 5
    assert same_proposals(result.store.of_image(1), proposals)
