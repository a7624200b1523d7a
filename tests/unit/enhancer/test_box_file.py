"""The file of boxes, their quality, and proposers that are given boxes."""

import json
import pickle

import numpy as np
import pytest

from proposal_builders import BoxProposer, box_mask, instance, instance_set, prompts_at, small_points
from sapnet.data.annotations import load_points, points_from_json, points_to_json
from sapnet.enhancer.box_file import ClickBox, load_boxes, save_boxes
from sapnet.errors import DataError, StoreError
from sapnet.evaluation.box_quality import box_quality
from sapnet.proposals.boxed import BoxedProposer, refuse_other_store
from sapnet.proposals.generate import open_writer
from sapnet.proposals.second_opinion import SecondOpinion


def test_the_file_is_the_points_file_with_boxes_and_reads_back(tmp_path):
    points = small_points()
    first, second = points.annotation_ids[:2].tolist()
    found = {first: ClickBox((1.5, 2.0, 11.0, 22.25), 0.5), second: ClickBox((0.0, 0.0, 3.0, 4.0), 0.25)}
    save_boxes(tmp_path / "boxes.json", points, found, settings={"epochs": 3})
    document = json.loads((tmp_path / "boxes.json").read_text())
    assert document["annotations"][0]["bbox"] == [1.5, 2.0, 9.5, 20.25]
    assert document["annotations"][0]["score"] == 0.5
    assert "bbox" not in document["annotations"][2]
    assert document["info"]["settings"] == {"epochs": 3}
    assert load_points(tmp_path / "boxes.json").digest == points.digest
    again = load_boxes(tmp_path / "boxes.json")
    assert again.boxes == {first: (1.5, 2.0, 11.0, 22.25), second: (0.0, 0.0, 3.0, 4.0)}
    assert again.points_digest == points.digest


def test_boxes_that_a_points_file_brings_along_are_not_taken_for_estimates(tmp_path):
    document = points_to_json(small_points())
    for entry in document["annotations"]:
        entry["bbox"] = [0, 0, 5, 5]
    save_boxes(tmp_path / "boxes.json", points_from_json(document, "points"), {}, settings={})
    assert load_boxes(tmp_path / "boxes.json").boxes == {}


@pytest.mark.parametrize("text", ["{}", '{"annotations": [{"id": 1, "bbox": [1]}], "info": {}}', "nothing"])
def test_another_file_is_no_file_of_boxes(tmp_path, text):
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(DataError, match=r"boxes\.json"):
        load_boxes(tmp_path / "boxes.json")


def test_the_digest_tells_boxes_apart_but_not_their_order(tmp_path):
    points = small_points()
    ids = points.annotation_ids.tolist()

    def digest(pairs):
        boxes = {key: ClickBox((0.0, 0.0, side, 5.0), 0.5) for key, side in pairs}
        save_boxes(tmp_path / "boxes.json", points, boxes, settings={})
        return load_boxes(tmp_path / "boxes.json").digest

    pairs = [(ids[0], 3.0), (ids[1], 4.0)]
    assert digest(pairs) == digest(pairs[::-1]) != digest([(ids[0], 3.0), (ids[1], 4.5)])


def test_box_quality_by_hand():
    points = small_points()
    ids = points.annotation_ids[:3].tolist()
    image = int(points.images.ids[0])
    masks = [
        box_mask((48, 64), 0, 0, 10, 10),
        box_mask((48, 64), 0, 0, 40, 40),
        box_mask((48, 64), 0, 0, 8, 8),
    ]
    truth = instance_set(
        [instance(key, mask, image_id=image) for key, mask in zip(ids, masks, strict=True)],
        images=[{"id": image, "file_name": "0.png", "width": 64, "height": 48}],
    )
    # One half as wide, one exact, one missing.
    found = box_quality(points, {ids[0]: (0, 0, 5, 10), ids[1]: (0, 0, 40, 40)}, truth)
    assert found["all"] == {"clicks": 3, "box_miou": 0.5, "above_half": pytest.approx(2 / 3)}
    assert found["small"]["box_miou"] == 0.25
    assert found["medium"]["box_miou"] == 1.0
    assert found["large"] == {"clicks": 0, "box_miou": None, "above_half": None}


class Listener(BoxProposer):
    """Remembers the boxes that it was asked with."""

    def propose(self, image, prompts):
        self.asked = prompts.boxes
        return super().propose(image, prompts)


def test_a_boxed_proposer_asks_with_the_boxes_and_says_where_they_come_from():
    plain = Listener()
    boxed = BoxedProposer(plain, {2: (1.0, 2.0, 3.0, 4.0)}, origin={"made_by": "enhancer"})
    prompts = prompts_at([[8.0, 8.0], [20.0, 20.0]])
    proposals = boxed.propose(np.zeros((40, 40, 3), dtype=np.uint8), prompts)
    assert np.isnan(plain.asked[0]).all()
    assert plain.asked[1].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert prompts.boxes is None
    assert proposals.annotation_ids.tolist() == [1, 2]
    assert boxed.name == "boxes"
    assert boxed.settings == {"sides": [8, 16], "boxes": {"made_by": "enhancer"}}
    assert boxed.checkpoint_digest is None
    boxed.propose(np.zeros((40, 40, 3), dtype=np.uint8), prompts_at([]))
    assert plain.asked.shape == (0, 4)
    assert pickle.loads(pickle.dumps(boxed)).settings == boxed.settings


def test_a_store_of_other_origin_is_refused_before_boxes_are_made(tmp_path):
    points, maker = small_points(), BoxProposer()
    origin = {"made_by": "enhancer", "sizes": (1, 2)}
    with open_writer(points, BoxedProposer(maker, {}, origin={**origin, "digest": "x"}), tmp_path / "a"):
        pass
    with open_writer(points, maker, tmp_path / "plain"):
        pass

    def refuse(folder, *, of=maker, digest=points.digest, by=origin):
        refuse_other_store(folder, of, points_digest=digest, origin=by)

    refuse(tmp_path / "absent")
    refuse(tmp_path / "a")
    with pytest.raises(StoreError, match="made in another way"):
        refuse(tmp_path / "plain")
    with pytest.raises(StoreError) as caught:
        refuse(tmp_path / "a", digest="y", by={**origin, "sizes": (1,)})
    assert len(caught.value.problems) == 3
    other = BoxProposer()
    other.settings = {"sides": [8]}
    with pytest.raises(StoreError, match=r"setting sides is \[8, 16\], this run's is \[8\]"):
        refuse(tmp_path / "a", of=other)
    with pytest.raises(StoreError, match="setting second_opinion is not set, this run's is boxes"):
        refuse(tmp_path / "a", of=SecondOpinion(maker, BoxProposer()))
    asked = SecondOpinion(BoxedProposer(maker, {}, origin={**origin, "digest": "x"}), BoxProposer())
    with open_writer(points, asked, tmp_path / "asked"):
        pass
    refuse(tmp_path / "asked", of=SecondOpinion(maker, BoxProposer()))
    with pytest.raises(StoreError, match="setting second_opinion is boxes, this run's is not set"):
        refuse(tmp_path / "asked")
    with pytest.raises(StoreError, match=r"second_opinion\.settings\.sides is"):
        refuse(tmp_path / "asked", of=SecondOpinion(maker, other))
    other.name = "squares"
    with pytest.raises(StoreError, match="is boxes, this run's is squares"):
        refuse(tmp_path / "a", of=other)
