"""Labelling from several views of every image."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data_builders import point_set
from sapnet.build import build_dataset, build_views
from sapnet.data.annotations import load_points
from sapnet.data.collate import collate
from sapnet.data.loading import clicked_images
from sapnet.data.views import ImageViews
from sapnet.engine.session import SessionOptions, TrainingData, choose
from sapnet.errors import DataError
from sapnet.labels.label import label_document, pick_proposals
from sapnet.mil.label_rule import LabelRule, promised_overlap
from sapnet.mil.selection import best_valid_index, take_rows
from sapnet.proposals.store import ProposalStore
from training_builders import network_that_tells_apart, tiny_config, write_tiny_data

QUIET = SessionOptions(quiet=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    paths = write_tiny_data(tmp_path_factory.mktemp("tiny"), clicks_per_image=3, empty=(2,))
    points = load_points(paths.points)
    return TrainingData.of(points, paths.images, ProposalStore.open(paths.store, points))


def trained(**labelling):
    """Settings, and a network with the same random weights that tell proposals apart."""
    config = tiny_config(labelling=labelling)
    return SimpleNamespace(config=config, network=network_that_tells_apart(config))


def views_of(data, **labelling):
    return build_views(tiny_config(labelling=labelling), data.points, data.images_dir, data.store)


def batch_of(view, row=0):
    return collate([view[row]], size_divisor=32, mask_stride=4)


def test_the_first_view_is_the_image_as_it_was_without_views(tiny):
    plain = build_dataset(tiny_config(), tiny.points, tiny.images_dir, tiny.store, training=False)[0]
    views = views_of(tiny, scales=[1.0, 1.0, 1.5, 1.5])
    assert [tuple(view[0].image.shape[1:]) for view in views] == [(64, 64), (64, 64), (96, 96), (96, 96)]
    assert torch.equal(views[0][0].image, plain.image)
    assert torch.equal(views[1][0].image, plain.image.flip(-1))
    assert torch.equal(views[3][0].image, views[2][0].image.flip(-1))
    assert torch.equal(views[1][0].bags.masks, plain.bags.masks.flip(-1))


def test_a_mirrored_view_keeps_the_order_of_the_proposals(tiny):
    plain, mirrored = (view[0].bags for view in views_of(tiny, scales=[1.0, 1.0]))
    for name in ("scores", "valid", "area", "covered_points", "covered_distance"):
        assert torch.equal(getattr(plain, name), getattr(mirrored, name)), name


def test_views_come_one_after_the_other_image_by_image(tiny):
    views = ImageViews(views_of(tiny, scales=[1.0, 1.5]))
    assert len(views) == 2 * len(tiny.points.images)
    assert [views[item].image_id for item in range(4)] == [1, 1, 2, 2]
    assert [views[item].image.shape[-1] for item in range(4)] == [64, 96, 64, 96]
    with pytest.raises(ValueError, match="one view at least"):
        ImageViews([])


def test_an_image_that_cannot_be_read_is_told_once_for_all_its_views(tiny, tmp_path):
    views = build_views(tiny_config(labelling={"scales": [1.0, 1.0]}), tiny.points, tmp_path, tiny.store)
    options = {"size_divisor": 32, "mask_stride": 4, "num_workers": 0, "quiet": True}
    with pytest.raises(DataError) as error:
        list(clicked_images(ImageViews(views), title="label", skip_bad=False, **options))
    assert len(error.value.problems) == len(tiny.points.images) + 1
    assert list(clicked_images(ImageViews(views), title="label", skip_bad=True, **options)) == []


def test_one_view_at_temperature_zero_labels_with_the_branch_s_own_pick(tiny):
    case = trained(scales=[1.0], overlap_temperature=0.0, exclusion=0.0)
    found = choose(case.network, tiny, case.config, options=QUIET)
    (view,) = views_of(tiny, scales=[1.0])
    for row in range(len(tiny.points.images)):
        batch = batch_of(view, row)
        picks, ranking = case.network._ranked(batch, use_segmenter=True)
        shares = ranking / ranking.sum(dim=1, keepdim=True).clamp_min(1e-12)
        masks = take_rows(batch.bags.masks, picks.proposal_index, absent=False)
        scores = promised_overlap(masks, shares, batch.bags)
        for click, annotation_id in enumerate(batch.prompts.annotation_ids.tolist()):
            index = int(picks.proposal_index[click])
            assert found[annotation_id][0] == index
            assert found[annotation_id][1] == pytest.approx(float(scores[click]), abs=1e-6)
            assert (found[annotation_id][1] > 0) == (index >= 0)


def test_a_mined_pick_is_the_label_by_the_paper_s_rule_alone(tmp_path):
    data = write_tiny_data(tmp_path / "crowded", clicks_per_image=3, crowded=True)
    points = load_points(data.points)
    store = ProposalStore.open(data.store, points)
    mined = tiny_config(model={"box_mining": {"enabled": True}})
    network = network_that_tells_apart(mined)
    (view,) = build_views(tiny_config(labelling={"scales": [1.0]}), points, data.images, store)
    batch = batch_of(view)
    picks, ranking = network._ranked(batch, use_segmenter=True)
    highest = best_valid_index(ranking, batch.bags.valid)
    assert not torch.equal(picks.proposal_index, highest)
    assert torch.equal(network.pick(batch).proposal_index, picks.proposal_index)
    assert torch.equal(network.pick(batch, others=[batch]).proposal_index, highest)


def test_an_image_that_is_its_own_mirror_is_scored_as_without_the_mirrored_view(tiny):
    case = trained()
    batch = batch_of(views_of(tiny, scales=[1.0])[0])
    alone = case.network.pick(batch)
    same = case.network.pick(batch, others=[batch, batch])
    ranked = case.network._ranked(batch, use_segmenter=True)[1]
    assert (
        same.proposal_index.tolist()
        == ranked.masked_fill(~batch.bags.valid, -1)
        .argmax(1)
        .where(batch.bags.valid.any(1), torch.tensor(-1))
        .tolist()
    )
    assert torch.equal(same.proposal_index, alone.proposal_index)
    torch.testing.assert_close(same.scores, alone.scores)


def test_exclusion_alone_changes_scores_but_labels_every_click(tiny):
    case = trained(scales=[1.0], overlap_temperature=0.0, exclusion=1.0)
    without = trained(scales=[1.0], overlap_temperature=0.0, exclusion=0.0)
    found, plain = (choose(one.network, tiny, one.config, options=QUIET) for one in (case, without))
    assert found.keys() == plain.keys()
    assert any(found[key][1] != plain[key][1] for key in found)


def test_which_of_two_views_comes_first_matters_little(tiny):
    case = trained()
    plain, mirrored = (batch_of(view) for view in views_of(tiny, scales=[1.0, 1.0]))
    one, other = case.network.pick(plain, others=[mirrored]), case.network.pick(mirrored, others=[plain])
    assert one.proposal_index.tolist() == other.proposal_index.tolist()
    torch.testing.assert_close(one.scores, other.scores)


def test_a_high_temperature_picks_what_overlaps_the_bag_most(tiny):
    case = trained(scales=[1.0], overlap_temperature=1e6, exclusion=0.0)
    found = choose(case.network, tiny, case.config, options=QUIET)
    # Every bag holds a part, the whole around it and a group around both.
    assert {pick.proposal for key, pick in found.items() if key != 2} == {1}
    assert found[2] == (-1, 0.0, (), 0.5)
    assert all(0 <= pick.score <= 1 for pick in found.values())
    # All have the same weight, so what two of the three cover is voted for: the whole.
    votes = {pick.votes for key, pick in found.items() if key != 2}
    assert all(vote == pytest.approx((1 / 3,) * 3, rel=1e-4) for vote in votes)


def test_votes_weigh_as_the_temperature_says(tiny):
    case = trained(scales=[1.0], overlap_temperature=4.0, exclusion=0.0)
    found = choose(case.network, tiny, case.config, options=QUIET)
    batch = batch_of(views_of(tiny, scales=[1.0])[0])
    scores = case.network._ranked(batch, use_segmenter=True)[1]
    for click, annotation_id in enumerate(batch.prompts.annotation_ids.tolist()):
        valid = batch.bags.valid[click].tolist()
        powers = [float(score) ** 0.25 * there for score, there in zip(scores[click], valid, strict=True)]
        expected = [power / max(sum(powers), 1e-30) for power in powers]
        pick = found[annotation_id]
        if not any(valid) or expected[pick.proposal] > 0.5:  # nothing to vote on, or decided alone
            expected = []
        assert list(pick.votes) == pytest.approx(expected, rel=1e-4)
    assert any(found[annotation_id].votes for annotation_id in batch.prompts.annotation_ids.tolist())


def test_large_objects_are_labelled_with_pixels_of_less_weight(tiny):
    cases = [trained(scales=[1.0], overlap_temperature=4.0, vote_share_large=share) for share in (0.5, 0.1)]
    plain, large = (choose(case.network, tiny, case.config, options=QUIET) for case in cases)
    assert {pick.needed for pick in plain.values()} == {0.5}
    assert {key: pick.proposal for key, pick in plain.items()} == {
        key: pick.proposal for key, pick in large.items()
    }
    assert min(pick.needed for pick in large.values()) < 0.5
    labels = [label_areas(tiny, picks) for picks in (plain, large)]
    assert all(labels[1][key] >= area for key, area in labels[0].items())
    assert labels[0] != labels[1]


def label_areas(data, picks):
    """Area of every label by annotation id."""
    document = label_document(data.points, data.store, picks)
    return {label["id"]: label["area"] for label in document["annotations"]}


def test_without_a_vote_the_picks_are_the_same_and_carry_no_votes(tiny):
    voted, plain = (trained(vote=vote) for vote in (True, False))
    found, other = (choose(one.network, tiny, one.config, options=QUIET) for one in (voted, plain))
    assert {key: pick.proposal for key, pick in found.items()} == {
        key: pick.proposal for key, pick in other.items()
    }
    assert {pick.votes for pick in other.values()} == {()}
    # Another mask promises another overlap.
    unvoted = [key for key, pick in found.items() if not pick.votes]
    assert 0 < len(unvoted) < len(found)
    assert all(found[key].score == other[key].score for key in unvoted)


def test_every_click_is_labelled_once_from_all_views(tiny):
    case = trained()
    found = pick_proposals(
        case.network,
        views_of(tiny, scales=[1.5, 1.0, 2.0]),
        rule=LabelRule(exclusion=0.5, overlap_temperature=0.5),
        size_divisor=32,
        mask_stride=4,
        use_segmenter=True,
        device=torch.device("cpu"),
        quiet=True,
    )
    assert sorted(found) == sorted(tiny.points.annotation_ids.tolist())


def test_a_data_set_without_clicks_needs_no_view(tiny):
    empty = point_set([], images=[])
    found = choose(
        trained().network, TrainingData(empty, tiny.images_dir, tiny.store, {}), tiny_config(), options=QUIET
    )
    assert found == {}
    assert np.size(empty.annotation_ids) == 0
