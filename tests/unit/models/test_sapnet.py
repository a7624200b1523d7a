"""The whole network: phases, switches of the stages, and independence of the batch."""

from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
import torch

from oracles.label_rule import promised, voted_label
from sapnet.build import build_dataset, build_total_loss
from sapnet.data.annotations import load_points
from sapnet.data.collate import collate
from sapnet.data.loading import blank_batch
from sapnet.mil.label_rule import PAPER_RULE, LabelRule, choose_by_rule
from sapnet.mil.selection import best_valid_index, take_rows
from sapnet.proposals.store import ProposalStore
from sapnet.structures import LossSums
from training_builders import network_that_tells_apart, tiny_config, write_tiny_data

SUMS = [item.name for item in fields(LossSums)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_data(tmp_path_factory.mktemp("tiny"), clicks_per_image=3, empty=(2,))


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    return write_tiny_data(tmp_path_factory.mktemp("crowded"), clicks_per_image=3, crowded=True)


def setting(tiny, *rows, **model):
    """A batch of some images and a network with some settings changed, always with the same weights."""
    config = tiny_config(model=model)
    points = load_points(tiny.points)
    dataset = build_dataset(
        config, points, tiny.images, ProposalStore.open(tiny.store, points), training=False
    )
    batch = collate([dataset[row] for row in rows], size_divisor=32, mask_stride=4)
    return SimpleNamespace(network=network_that_tells_apart(config), batch=batch, config=config)


def sums_of(case, phase="joint", **options):
    return case.network(case.batch, phase, **options)


def test_a_batch_of_two_equals_two_batches_of_one(tiny):
    both = sums_of(setting(tiny, 0, 1))
    single = [sums_of(setting(tiny, row)) for row in (0, 1)]
    for name in SUMS:
        parts = sum(getattr(item, name) for item in single)
        torch.testing.assert_close(
            getattr(both, name).float(),
            parts.float(),
            rtol=1e-4,
            atol=1e-4,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def test_picks_do_not_depend_on_the_batch(tiny):
    both = setting(tiny, 2, 0)
    found = both.network.pick(both.batch)
    alone = [setting(tiny, row) for row in (2, 0)]
    single = [case.network.pick(case.batch) for case in alone]
    assert found.proposal_index.tolist() == torch.cat([item.proposal_index for item in single]).tolist()
    torch.testing.assert_close(found.scores, torch.cat([item.scores for item in single]))


def test_an_empty_bag_is_picked_nothing_and_counts_nothing(tiny):
    case = setting(tiny, 0)
    found = case.network.pick(case.batch)
    assert found.proposal_index[1] == -1  # annotation 2
    assert found.scores[1] == 0
    assert sums_of(case).num_prompts == 2


@pytest.mark.parametrize("phase", ["selection", "joint", "segmentation"])
def test_only_the_branches_of_a_phase_learn(tiny, phase):
    case = setting(tiny, 0, 1)
    case.network.train()
    build_total_loss(case.config.model)(sums_of(case, phase)).total.backward()

    def learns(part):
        return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in part.parameters())

    assert learns(case.network.selection) == (phase != "segmentation")
    assert learns(case.network.segmentation) == (phase != "selection")
    assert learns(case.network.pyramid) == (phase != "selection")


OWN_PICK = {"exclusion": 0.0, "overlap_temperature": 0.0, "vote": False}
SWITCHES = {
    "no refine pass": ({"refinement": {"enabled": False}}, {"refinement_positive", "refinement_negative"}),
    "no guidance": ({"guidance": {"enabled": False}}, {"selection", "refinement_positive"}),
    "guidance of the logits": ({"guidance": {"apply_to": "logits"}}, {"selection"}),
    "mining after select": (
        {"box_mining": {"enabled": True, "also_after_select": True}},
        {"refinement_positive"},
    ),
    "supervision by the branch's own pick": ({"supervision": OWN_PICK}, {"mask"}),
    "supervision without a vote": ({"supervision": {"vote": False}}, {"mask"}),
    "supervision without exclusion": ({"supervision": {"exclusion": 0.0}}, {"mask"}),
    "no positives": ({"regions": {"positives": False}}, {"refinement_positive"}),
    "no negatives": ({"regions": {"negatives": False}}, {"refinement_negative", "num_negatives"}),
    "softmax in the refine pass": (
        {"refinement": {"class_activation": "softmax"}},
        {"refinement_positive", "refinement_negative"},
    ),
    "background output": ({"mil_head": {"background_output": True}}, {"selection"}),
    "pooling from the pyramid": ({"mil_head": {"features": "pyramid"}}, {"selection"}),
    "pooling of boxes": ({"mil_head": {"pooling": "box"}}, {"selection"}),
    "no projection": ({"mil_head": {"projection_channels": 0}}, {"selection"}),
    "no multi-mask supervision": ({"multi_mask": {"enabled": False}}, {"mask"}),
    "more weight of alternates": ({"multi_mask": {"weight": 2.0, "ranks": [1, 2]}}, {"mask"}),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch_runs_and_changes_what_it_should(crowded, name):
    changes, changed = SWITCHES[name]
    plain, switched = sums_of(setting(crowded, 0, 1)), setting(crowded, 0, 1, **changes)
    assert changed
    found = sums_of(switched)
    for item in SUMS:
        assert getattr(found, item).isfinite(), item
    for item in changed:
        assert not torch.equal(getattr(found, item), getattr(plain, item)), item
    switched.network.pick(switched.batch)


@pytest.mark.parametrize("rule", [PAPER_RULE, LabelRule(0.25, 0.5), LabelRule(0.25, 0.5, vote=True)])
def test_the_score_of_a_pick_is_the_overlap_that_its_label_promises(crowded, rule):
    case = setting(crowded, 0, 1)
    bags = case.batch.bags
    found = case.network.pick(case.batch, rule=rule)
    _, ranking = case.network._ranked(case.batch, use_segmenter=True)
    belief = choose_by_rule(
        ranking, bags, case.batch.prompts.image_index, case.batch.image_sizes, rule
    ).belief
    for g, index in enumerate(found.proposal_index.tolist()):
        masks = [{tuple(cell) for cell in mask.nonzero().tolist()} for mask in bags.masks[g]]
        label = masks[index]
        if rule.vote:
            label = voted_label(masks, belief[g].tolist()) or label
        expected = promised(label, masks, belief[g].tolist()) if index >= 0 else 0.0
        assert found.scores[g].item() == pytest.approx(expected, abs=1e-5)


def test_mined_boxes_supervise_where_the_branch_s_own_pick_does(crowded):
    plain, mined = (
        sums_of(setting(crowded, 0, 1, supervision=OWN_PICK, box_mining={"enabled": enabled}))
        for enabled in (False, True)
    )
    assert not torch.equal(plain.mask, mined.mask)
    assert torch.equal(plain.refinement_positive, mined.refinement_positive)


def test_without_the_refine_pass_its_losses_are_zero_and_the_select_pass_picks(tiny):
    case = setting(tiny, 0, 1, refinement={"enabled": False})
    sums = sums_of(case)
    assert sums.refinement_positive == sums.refinement_negative == sums.num_negatives == 0
    stages = case.network.backbone(case.batch.images)
    found = case.network.selection(stages[1:], case.batch)
    picks = best_valid_index(found.ranking_scores, case.batch.bags.valid)
    assert torch.equal(found.picks.proposal_index, picks)
    assert torch.equal(found.picks.boxes, take_rows(case.batch.bags.boxes, picks, absent=0.0))


def test_multi_mask_supervision_off_leaves_one_mask_per_click(tiny):
    for enabled, count in ((False, 1), (True, 4)):
        case = setting(tiny, 0, multi_mask={"enabled": enabled, "ranks": [1, 2, 3]})
        stages = case.network.backbone(case.batch.images)
        found = case.network.selection(stages[1:], case.batch)
        labels = case.network.map_to_masks(
            found.picks, case.batch.bags, found.ranking_scores, case.batch.prompts
        )
        assert labels.masks.shape[1] == count


def test_agreement_weighs_in_only_where_it_is_asked_for(tiny, monkeypatch):
    from sapnet.models import sapnet as module

    def prefer_last(outputs, prompts, bags, *_arguments, **_settings):
        scores = torch.zeros_like(bags.scores)
        last = bags.valid.sum(dim=1) - 1
        return scores.scatter(1, last.clamp_min(0)[:, None], 1.0)

    monkeypatch.setattr(module, "segmenter_agreement", prefer_last)
    case = setting(tiny, 0, 1, agreement={"exponent": 5.0})
    last = (case.batch.bags.valid.sum(dim=1) - 1).tolist()
    assert case.network.pick(case.batch).proposal_index.tolist() == last
    plain = case.network.pick(case.batch, use_segmenter=False).proposal_index.tolist()
    without = setting(tiny, 0, 1, agreement={"exponent": 0.0})
    assert without.network.pick(without.batch).proposal_index.tolist() == plain
    weighed, unweighed = sums_of(case, use_agreement=True), sums_of(case)
    assert torch.equal(weighed.selection, unweighed.selection)
    assert plain != last
    assert not torch.equal(weighed.mask, unweighed.mask)


@pytest.mark.parametrize("pooling", ["box", "mask"])
def test_a_batch_without_clicks_learns_from_its_background(tiny, pooling):
    case = setting(tiny, 0, mil_head={"pooling": pooling})
    draws = torch.rand(1, 6, 4)
    batch = replace(blank_batch(size_divisor=32, mask_stride=4), background_draws=draws)
    sums = case.network(batch)
    assert sums.num_prompts == 0
    assert sums.num_negatives == 6
    assert sums.refinement_negative > 0


@pytest.mark.parametrize("phase", ["selection", "joint", "segmentation"])
def test_a_blank_picture_gives_finite_sums_and_gradients(tiny, phase):
    case = setting(tiny, 0)
    batch = blank_batch(size_divisor=32, mask_stride=4)
    sums = case.network(batch, phase)
    assert sums.num_prompts == sums.num_positive_cells == 0
    build_total_loss(case.config.model)(sums).total.backward()
    grads = [p.grad for p in case.network.parameters() if p.grad is not None]
    assert grads
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize(("channels", "tolerance"), [(0, 1e-3), (8, 0.1)], ids=["plain", "projected"])
def test_padding_changes_no_pick(tiny, channels, tolerance):
    """Scores move where the group normalisation of the projection averages over the padding too."""
    # With these exponents no two proposals of the untrained network score nearly the same.
    picking = {"size_exponent": 0.1, "proposer_exponent": 0.5}
    case = setting(tiny, 0, 1, mil_head={"projection_channels": channels}, picking=picking)
    images = torch.nn.functional.pad(case.batch.images, (0, 64, 0, 64))
    masks = torch.nn.functional.pad(case.batch.bags.masks, (0, 16, 0, 16))
    padded = replace(case.batch, images=images, bags=replace(case.batch.bags, masks=masks))
    plain = case.network.pick(case.batch, use_segmenter=False)
    found = case.network.pick(padded, use_segmenter=False)
    assert torch.equal(found.proposal_index, plain.proposal_index)
    torch.testing.assert_close(found.scores, plain.scores, rtol=tolerance, atol=0.0)


def test_half_precision_keeps_counts_exact_and_sums_near(tiny):
    case = setting(tiny, 0, 1)
    plain = sums_of(case)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = sums_of(case)
    for item in SUMS:
        value = getattr(half, item)
        assert value.dtype == torch.float32, item
        if item in ("num_prompts", "num_negatives"):
            assert value == getattr(plain, item), item
    torch.testing.assert_close(half.selection, plain.selection, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("candidates", ["proposals", "positives"])
def test_picking_alone_finds_what_the_whole_pass_finds(crowded, candidates):
    case = setting(crowded, 0, 1, picking={"candidates": candidates}, box_mining={"enabled": True})
    with torch.no_grad():
        maps, _ = case.network._maps(case.batch, with_levels=False)
        whole = case.network.selection(maps, case.batch)
        alone = case.network.selection(maps, case.batch, picks_only=True)
    assert torch.equal(alone.picks.proposal_index, whole.picks.proposal_index)
    torch.testing.assert_close(alone.ranking_scores, whole.ranking_scores)
    assert (alone.num_negatives, bool(whole.num_negatives > 0)) == (0, True)


def test_the_embeddings_of_a_bag_serve_both_passes_unless_dropout_draws(tiny, monkeypatch):
    embedded = []
    for dropout in (0.0, 0.5):
        case = setting(tiny, 0, mil_head={"dropout": dropout})
        case.network.train()
        embed = case.network.selection.head.embed

        def counted(features, embed=embed):
            embedded.append(len(features))
            return embed(features)

        monkeypatch.setattr(case.network.selection.head, "embed", counted)
        sums_of(case, "selection").selection.backward()
    bag = case.batch.bags.valid.numel()
    assert embedded[0] == embedded[2] == bag
    assert embedded[3] == embedded[1] + bag
