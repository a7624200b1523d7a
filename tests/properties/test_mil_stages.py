"""Properties of the multiple-instance stages that hold for every input."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.random_bags import HEIGHT, STRIDE, WIDTH, Case, random_case
from sapnet.losses.mil import selection_loss_sum
from sapnet.mil.box_mining import mine_boxes
from sapnet.mil.point_guidance import point_guidance
from sapnet.mil.positives_negatives import generate_regions
from sapnet.mil.pseudo_masks import map_to_masks
from sapnet.mil.refinement import positive_guidance, refine
from sapnet.mil.scoring import bag_scores, guide_class_logits, scores_at_label
from sapnet.mil.selection import select, take_rows
from sapnet.ops.boxes import box_areas, clip_boxes, contains_box, pairwise_iou

SEEDS = st.integers(0, 10_000)
OVERLAPS = st.sampled_from(["mask-covers-point", "box-covers-point", "bags-overlap"])
quick = settings(deadline=None, max_examples=10)


def scored(case, guidance=None):
    return bag_scores(
        case.class_logits, case.instance_logits, case.bags.valid, num_classes=3, guidance=guidance
    )


def run(case):
    """All stages in order; the refine pass scores the proposals as the select pass did."""
    guidance = point_guidance(case.prompts, case.bags, overlap="box-covers-point")
    scores = scored(case, guidance)
    labels, images = case.prompts.labels, case.prompts.image_index
    selection = select(scores, case.bags, labels, case.image_sizes, images)
    regions = generate_regions(
        selection,
        case.bags,
        case.prompts,
        case.image_sizes,
        case.background_draws,
        case.part_draws,
        scale_factors=(0.1,),
        part_min_area=0.0,
    )
    generated = scores.class_probs.new_full((len(labels), 2, 3), 0.5) * regions.positive_valid[:, -2:, None]
    positives = replace(
        scores,
        class_probs=torch.cat([scores.class_probs, generated], 1),
        instance_probs=torch.cat([scores.instance_probs, generated], 1),
        guidance=positive_guidance(guidance, selection, num_positives=scores.guidance.shape[1] + 2),
    )
    refined = refine(positives, regions, case.bags, labels)
    ranking = scores_at_label(scores.scores, labels)
    mined = mine_boxes(refined, ranking, case.bags)
    pseudo = map_to_masks(mined, case.bags, ranking, case.prompts, ranks=(1, 2))
    return scores, selection, regions, refined, mined, pseudo


def take(structure, index):
    """Some prompts of a structure whose tensors all start with the prompt axis."""
    return type(structure)(**{name: value[index] for name, value in vars(structure).items()})


def assert_equal(first, second):
    """Two structures hold equal tensors."""
    for name, value in vars(first).items():
        torch.testing.assert_close(
            value, getattr(second, name), msg=lambda text, name=name: f"{name}: {text}"
        )


def prompts_of(case, index, images=None):
    """The case with some prompts, in the given order, and some of the images."""
    images = torch.arange(len(case.image_sizes)) if images is None else images
    prompts = take(case.prompts, index)
    renumbered = torch.full((len(case.image_sizes),), -1)
    renumbered[images] = torch.arange(len(images))
    return Case(
        prompts=replace(prompts, image_index=renumbered[prompts.image_index]),
        bags=take(case.bags, index),
        image_sizes=case.image_sizes[images],
        class_logits=case.class_logits[index],
        instance_logits=case.instance_logits[index],
        background_draws=case.background_draws[images],
        part_draws=case.part_draws[index],
        num_classes=case.num_classes,
    )


@quick
@given(seed=SEEDS)
def test_permuting_the_proposals_of_a_bag_permutes_their_scores(seed):
    case = random_case(seed)
    order = torch.randperm(4)
    shuffled = replace(
        case,
        bags=replace(case.bags, **{name: value[:, order] for name, value in vars(case.bags).items()}),
        class_logits=case.class_logits[:, order],
        instance_logits=case.instance_logits[:, order],
    )
    for overlap in ("mask-covers-point", "box-covers-point", "bags-overlap"):
        guidance = point_guidance(case.prompts, case.bags, overlap=overlap)
        moved = point_guidance(shuffled.prompts, shuffled.bags, overlap=overlap)
        torch.testing.assert_close(moved, guidance[:, order])
    torch.testing.assert_close(scored(shuffled).scores, scored(case).scores[:, order])
    torch.testing.assert_close(scored(shuffled).bag_scores, scored(case).bag_scores)


@quick
@given(seed=SEEDS)
def test_permuting_the_prompts_permutes_the_results(seed):
    case = random_case(seed, num_prompts=6)
    order = torch.randperm(6)
    _, selection, regions, refined, mined, pseudo = run(case)
    _, selection_moved, regions_moved, refined_moved, mined_moved, pseudo_moved = run(prompts_of(case, order))
    assert_equal(selection_moved, take(selection, order))
    assert_equal(refined_moved, take(refined, order))
    assert_equal(mined_moved, take(mined, order))
    assert_equal(pseudo_moved, take(pseudo, order))
    torch.testing.assert_close(regions_moved.positive_boxes, regions.positive_boxes[order])
    assert regions_moved.negative_boxes.shape == regions.negative_boxes.shape


@quick
@given(seed=SEEDS)
def test_a_batch_of_two_images_equals_two_batches_of_one(seed):
    case = random_case(seed, num_prompts=6, num_images=2)
    scores, selection, regions, refined, mined, pseudo = run(case)
    loss = 0.0
    for image in range(2):
        index = (case.prompts.image_index == image).nonzero()[:, 0]
        alone = run(prompts_of(case, index, images=torch.tensor([image])))
        loss += selection_loss_sum(alone[0].bag_scores, case.prompts.labels[index])
        assert_equal(alone[1], take(selection, index))
        assert_equal(alone[3], take(refined, index))
        assert_equal(alone[4], take(mined, index))
        torch.testing.assert_close(alone[5].masks, pseudo.masks[index])
        of_image = regions.negative_image_index == image
        torch.testing.assert_close(alone[2].negative_boxes, regions.negative_boxes[of_image])
    torch.testing.assert_close(selection_loss_sum(scores.bag_scores, case.prompts.labels), loss)


@quick
@given(seed=SEEDS)
def test_bag_scores_are_probabilities_and_instance_probabilities_sum_to_one(seed):
    case = random_case(seed)
    scores = scored(case)
    assert (scores.bag_scores >= 0).all()
    assert (scores.bag_scores <= 1 + 1e-9).all()
    filled = case.bags.valid.any(1).double()
    torch.testing.assert_close(scores.instance_probs.sum(1), filled[:, None].expand(-1, 3))
    torch.testing.assert_close(scores.class_probs.sum(2), case.bags.valid.double())


@quick
@given(seed=SEEDS, overlap=OVERLAPS, exponent=st.sampled_from([1 / 64, 0.5, 1.0, 4.0]))
def test_guidance_lies_between_half_to_the_exponent_and_one(seed, overlap, exponent):
    case = random_case(seed, num_classes=1)
    factors = point_guidance(case.prompts, case.bags, overlap=overlap, exponent=exponent)
    assert (factors > 0.5**exponent).all()
    assert (factors <= 1).all()


@quick
@given(seed=SEEDS, overlap=OVERLAPS)
def test_guidance_of_the_scores_is_one_without_a_neighbour_and_never_raises_a_score(seed, overlap):
    case = random_case(seed)
    alone = replace(case.prompts, image_index=torch.arange(5))
    bags = replace(case.bags, covered_points=torch.zeros(5, 4, dtype=torch.bool))
    assert (point_guidance(alone, bags, overlap=overlap) == 1).all()
    factors = point_guidance(case.prompts, case.bags, overlap=overlap)
    assert (scored(case, factors).scores <= scored(case).scores).all()


@quick
@given(seed=SEEDS)
def test_guidance_of_the_logits_raises_negative_ones_and_lowers_positive_ones(seed):
    case = random_case(seed)
    factors = point_guidance(case.prompts, case.bags)[..., None]
    guided = guide_class_logits(case.class_logits, factors[..., 0])
    assert (guided.abs() <= case.class_logits.abs()).all()
    assert (guided * case.class_logits >= 0).all()


@quick
@given(seed=SEEDS)
def test_selection_ignores_invalid_proposals_and_stays_in_the_hull_of_its_bag(seed):
    case = random_case(seed)
    scores, selection, *_ = run(case)
    spoiled = replace(case.bags, boxes=case.bags.boxes.masked_fill(~case.bags.valid[..., None], 1e6))
    again = select(scores, spoiled, case.prompts.labels, case.image_sizes, case.prompts.image_index)
    assert_equal(again, selection)
    found = selection.proposal_index >= 0
    assert torch.equal(found, case.bags.valid.any(1))
    hidden = ~case.bags.valid[found][..., None]
    low = case.bags.boxes[found][..., :2].masked_fill(hidden, torch.inf).amin(1)
    high = case.bags.boxes[found][..., 2:].masked_fill(hidden, -torch.inf).amax(1)
    assert contains_box(torch.cat([low, high], dim=1), selection.boxes[found]).all()


@quick
@given(seed=SEEDS)
def test_negatives_overlap_the_positives_and_the_selection_less_than_the_thresholds(seed):
    case = random_case(seed, num_images=2)
    _, selection, regions, *_ = run(case)
    num_background = len(run(replace(case, part_draws=case.part_draws[:, :0]))[2].negative_boxes)
    for image in range(2):
        of_image = case.prompts.image_index == image
        positives = regions.positive_boxes[of_image][regions.positive_valid[of_image]]
        here = regions.negative_image_index == image
        background = regions.negative_boxes[:num_background][here[:num_background]]
        parts = regions.negative_boxes[num_background:][here[num_background:]]
        assert (pairwise_iou(background, positives) < 0.3).all()
        owners = selection.boxes[of_image]
        inside = contains_box(owners[None], parts[:, None], tolerance=1e-6)
        assert (inside & (pairwise_iou(parts, owners) < 0.5)).any(1).all()


@quick
@given(seed=SEEDS)
def test_generated_positives_lie_inside_the_image_and_valid_ones_have_area(seed):
    case = random_case(seed)
    regions = run(case)[2]
    generated = regions.positive_boxes[:, 4:]
    sizes = case.image_sizes[case.prompts.image_index][:, None]
    assert torch.equal(clip_boxes(generated, sizes), generated)
    assert (box_areas(generated)[regions.positive_valid[:, 4:]] > 0).all()


@quick
@given(seed=SEEDS, scale=st.sampled_from([0.5, 2.0, 3.0]))
def test_scaling_image_and_boxes_scales_the_boxes_of_every_stage(seed, scale):
    case = random_case(seed)
    guidance = torch.full((5, 4), 0.7, dtype=torch.float64)
    labels, images = case.prompts.labels, case.prompts.image_index
    results = []
    for factor in (1.0, scale):
        bags = replace(case.bags, boxes=case.bags.boxes * factor)
        sizes = (case.image_sizes * factor).long()
        selection = select(scored(case, guidance), bags, labels, sizes, images)
        regions = generate_regions(
            selection,
            bags,
            case.prompts,
            sizes,
            case.background_draws,
            case.part_draws,
            part_min_area=100 * factor**2,
        )
        ranking = scores_at_label(scored(case).scores, labels)
        mined = mine_boxes(selection, ranking, bags, containing_tolerance=2 * factor)
        results.append((selection.boxes, regions.positive_boxes, regions.negative_boxes, mined.boxes))
    for before, after in zip(*results, strict=True):
        torch.testing.assert_close(after, before * scale)


@quick
@given(seed=SEEDS, overlap=OVERLAPS)
def test_translation_moves_the_boxes_and_leaves_the_guidance(seed, overlap):
    case = random_case(seed)
    offset = torch.tensor([3.0, 2.0], dtype=torch.float64) * STRIDE
    moved_prompts = replace(case.prompts, xy=case.prompts.xy + offset)
    masks = torch.nn.functional.pad(case.bags.masks, (3, 0, 2, 0))
    moved = replace(case.bags, boxes=case.bags.boxes + offset.repeat(2), masks=masks)
    options = {"overlap": overlap, "distance": "square-root"}
    before = point_guidance(case.prompts, case.bags, **options)
    torch.testing.assert_close(point_guidance(moved_prompts, moved, **options), before)
    labels, images = case.prompts.labels, case.prompts.image_index
    sizes = torch.tensor([[HEIGHT + 50, WIDTH + 50]] * 2)
    ranking = scores_at_label(scored(case).scores, labels)
    mined = [
        mine_boxes(select(scored(case), bags, labels, sizes, images), ranking, bags).boxes
        for bags in (case.bags, moved)
    ]
    found = case.bags.valid.any(1)
    torch.testing.assert_close(mined[1][found], mined[0][found] + offset.repeat(2))


@quick
@given(seed=SEEDS)
def test_mining_never_shrinks_a_box_and_leaves_it_where_no_proposal_is_larger(seed):
    case = random_case(seed, num_prompts=8)
    refined, mined = run(case)[3:5]
    before, after = box_areas(refined.boxes), box_areas(mined.boxes)
    # The box of a proposal that covers a neighbour's click may give way to that of another.
    own = take_rows(case.bags.boxes, mined.proposal_index, absent=0.0)
    replaced = (mined.proposal_index != refined.proposal_index) & (mined.boxes == own).all(1)
    assert take_rows(case.bags.covered_points, refined.proposal_index, absent=True)[replaced].all()
    assert (after >= before - 1e-9)[~replaced].all()
    largest = box_areas(case.bags.boxes).masked_fill(~case.bags.valid, 0).amax(1)
    stays = (before >= largest) & ~replaced
    assert torch.equal(mined.boxes[stays], refined.boxes[stays])


@quick
@given(seed=SEEDS)
def test_every_prompt_with_a_proposal_ends_with_a_valid_one_of_its_bag(seed):
    case = random_case(seed, num_prompts=8)
    *_, refined, mined, pseudo = run(case)
    found = case.bags.valid.any(1)
    rows = torch.arange(8)[found]
    for selection in (refined, mined):
        assert torch.equal(selection.proposal_index >= 0, found)
        assert case.bags.valid[rows, selection.proposal_index[found]].all()
    assert not pseudo.mask_valid[~found].any()


@pytest.mark.parametrize("num_prompts", [0, 1, 1000])
@pytest.mark.parametrize("num_proposals", [1, 6])
def test_all_stages_run_for_no_prompt_one_and_a_thousand(num_prompts, num_proposals):
    case = random_case(1, num_prompts=num_prompts, num_proposals=num_proposals)
    *_, pseudo = run(case)
    assert pseudo.masks.shape[:2] == (num_prompts, 3)


def test_a_batch_of_only_empty_bags_runs_through_all_stages():
    case = random_case(1)
    case.bags = replace(case.bags, valid=torch.zeros(5, 4, dtype=torch.bool))
    scores, selection, regions, _, mined, pseudo = run(case)
    assert scores.bag_scores.count_nonzero() == 0
    assert selection.boxes.count_nonzero() == 0
    assert not regions.positive_valid.any()
    assert mined.proposal_index.tolist() == [-1] * 5
    assert not pseudo.mask_valid.any()


def test_stages_do_not_write_into_their_inputs():
    case = random_case(6)
    before = {name: value.clone() for name, value in vars(case.bags).items()}
    run(case)
    for name, value in before.items():
        assert torch.equal(getattr(case.bags, name), value), name
