"""The enhancer's network: its losses against loops, its boxes, and what must not matter."""

from dataclasses import replace

import pytest
import torch

from oracles import enhancer as box_oracle
from oracles import mil_losses, scoring
from oracles.boxes import area as area_of
from sapnet.build_enhancer import build_enhancer, enhancer_settings
from sapnet.enhancer import network
from sapnet.losses.total import total_loss
from sapnet.structures import Batch, PointPrompts, ProposalBags
from training_builders import tiny_config

SMALL = {
    "base_sizes": [8.0, 40.0, 90.0],
    "aspect_factors": [0.5, 1.0],
    "refinement_scales": [1.0, 1.25],
    "projection_channels": 8,
    "roi_size": 2,
    "hidden_channels": 8,
    "best_count": 3,
}
CLASSES = 2


def model_of(**changes):
    torch.manual_seed(0)
    config = enhancer_settings(tiny_config(proposals={"enhancer": {**SMALL, **changes}}))
    model = build_enhancer(config, num_classes=CLASSES)
    # Weights of deviation 0.01 would make all scores nearly equal.
    for layer in [*model.head.hidden, *model.head.classes.values(), *model.head.instances.values()]:
        torch.nn.init.normal_(layer.weight, std=0.6)
    return model


def batch_of(xy, labels=None, image_index=None, *, num_images=1, backgrounds=8, parts=0, seed=0):
    g = torch.Generator().manual_seed(seed)
    xy = torch.tensor(xy, dtype=torch.float32).reshape(-1, 2)
    count = len(xy)
    whole = torch.zeros(count, dtype=torch.int64)
    empty = torch.zeros(count, 1)
    return Batch(
        images=torch.randn(num_images, 3, 64, 96, generator=g),
        image_sizes=torch.tensor([[60, 90]] * num_images),
        prompts=PointPrompts(
            xy=xy,
            labels=whole if labels is None else torch.tensor(labels),
            image_index=whole if image_index is None else torch.tensor(image_index),
            annotation_ids=torch.arange(count),
        ),
        bags=ProposalBags(
            boxes=torch.zeros(count, 1, 4),
            masks=torch.zeros(count, 1, 16, 24, dtype=torch.bool),
            scores=empty,
            valid=torch.zeros(count, 1, dtype=torch.bool),
            covered_points=torch.zeros(count, 1, dtype=torch.bool),
            covered_distance=empty,
            area=empty,
            opinions=empty,
        ),
        background_draws=torch.rand(num_images, backgrounds, 4, generator=g),
        part_draws=torch.rand(count, parts, 4, generator=g),
        image_ids=tuple(range(num_images)),
        file_names=("a.jpg",) * num_images,
    )


def logits_of(model, batch, boxes, image, name):
    maps = model._maps(batch)
    boxes = torch.tensor(boxes, dtype=torch.float32)
    return model.head(model.pooler(maps, boxes, torch.full((len(boxes),), image)), name)


@pytest.mark.parametrize(("with_instances", "size_exponent"), [(True, 0.0), (False, 0.3)])
def test_losses_and_boxes_are_those_of_a_loop_over_clicks(with_instances, size_exponent):
    model = model_of(
        guidance_exponent=0.0, instance_probability=with_instances, size_exponent=size_exponent
    ).eval()
    settings = model.settings
    batch = batch_of([[30, 30], [60, 20], [44, 40]], [0, 1, 1], [0, 0, 1], num_images=2)
    first_sums, second_sums, weights, expected = [], [], [], []
    for g, (xy, label, image) in enumerate(
        zip(
            batch.prompts.xy.tolist(),
            batch.prompts.labels.tolist(),
            batch.prompts.image_index.tolist(),
            strict=True,
        )
    ):
        options = {"base_sizes": settings.base_sizes, "aspect_factors": settings.aspect_factors}
        boxes = box_oracle.coarse(xy, (60, 90), cut="symmetric", **options)
        for name, activation in (("select", "softmax"), ("refine", "sigmoid")):
            valid = [
                name == "select" or box_oracle.shown(box, (60, 90)) > settings.min_shown_share
                for box in boxes
            ]
            classes, instances = logits_of(model, batch, boxes, image, name)
            scores, totals = scoring.bag_scores(
                classes[None].tolist(),
                instances[None].tolist(),
                [valid],
                num_classes=CLASSES,
                class_activation=activation,
                guidance=[[1.0] * len(boxes)],
            )
            ranking = [row[label] for row in scores[0]]
            if not with_instances:
                probs = classes.softmax(1) if name == "select" else classes.sigmoid()
                ranking = probs[:, label].tolist()
            largest = max(area_of(box) for box, real in zip(boxes, valid, strict=True) if real)
            ranking = [
                score * (area_of(box) / largest) ** size_exponent
                for score, box in zip(ranking, boxes, strict=True)
            ]
            box, _, _ = box_oracle.mean_of_best(boxes, ranking, valid, ranking, settings.best_count)
            if name == "select":
                first_sums.append(mil_losses.selection_loss(totals, [label]))
                weights.append(totals[0][label])
                boxes = box_oracle.refinement(
                    box, scale_factors=settings.refinement_scales, shift=settings.refinement_shift
                )
            else:
                second_sums.append(mil_losses.refinement_positive(totals, [label], [weights[g]], 2.0))
                expected.append([min(max(v, 0), limit) for v, limit in zip(box, (90, 60) * 2, strict=True)])
    sums = model(batch)
    torch.testing.assert_close(sums.selection.item(), sum(first_sums), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sums.refinement_positive.item(), sum(second_sums), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sums.selected_score_sum.item(), sum(weights), rtol=1e-4, atol=1e-5)
    assert sums.num_prompts == 3
    found = model.estimate(batch)
    torch.testing.assert_close(found.boxes, torch.tensor(expected), rtol=1e-3, atol=1e-2)
    assert ((found.confidence > 0) & (found.confidence < 1)).all()


def test_backgrounds_overlap_no_box_near_the_estimate():
    model = model_of(background_iou=0.2).eval()
    batch = batch_of([[30, 30]], backgrounds=40)
    first, second = model._passes(model._maps(batch), batch)
    found = model._negatives(first.mean, second, batch)
    assert 0 < len(found.negative_boxes) < 40
    for negative in found.negative_boxes.tolist():
        for box in second.boxes[0][second.valid[0]].tolist():
            assert box_oracle.box_oracle.iou(negative, box) < 0.2


def test_parts_of_the_first_estimate_can_be_negatives():
    model = model_of().eval()
    few = model(batch_of([[30, 30]], backgrounds=0)).num_negatives
    many = model(batch_of([[30, 30]], backgrounds=0, parts=20)).num_negatives
    assert few == 0 < many


def test_a_box_over_a_neighbour_of_the_class_loses_weight():
    plain, guided = model_of(guidance_exponent=0.0).eval(), model_of(guidance_exponent=6.0).eval()
    near = batch_of([[40, 30], [46, 30]], [0, 0])
    other = batch_of([[40, 30], [46, 30]], [0, 1])
    widths = {}
    for name, model, batch in (("plain", plain, near), ("guided", guided, near), ("other", guided, other)):
        left, _, right, _ = model.estimate(batch).boxes[0].tolist()
        widths[name] = right - left
    assert widths["guided"] < widths["plain"]
    assert widths["other"] == pytest.approx(widths["plain"], rel=1e-4)


@pytest.mark.parametrize("features", ["backbone", "pyramid"])
def test_every_trained_weight_gets_a_finite_gradient(features):
    model = model_of(features=features, frozen_stages=0).train()
    total_loss(model(batch_of([[30, 30], [60, 20]], [0, 1]))).total.backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert all(grad is None or torch.isfinite(grad).all() for grad in grads.values())
    assert all(grads[f"head.classes.{name}.weight"].abs().sum() > 0 for name in ("select", "refine"))
    assert any("backbone" in name and grad is not None for name, grad in grads.items())


def test_a_frozen_backbone_gets_no_gradient():
    model = model_of().train()
    total_loss(model(batch_of([[30, 30]]))).total.backward()
    assert all(not p.requires_grad for p in model.backbone.parameters())
    assert all(p.grad is not None for p in model.projections.parameters())


@pytest.mark.parametrize(
    ("xy", "usable"),
    [([], 0), ([[0, 0]], 0), ([[0, 30], [89.5, 59.5]], 1), ([[200, 200]], 0), ([[45, 30]] * 3, 3)],
    ids=["none", "corner", "rim and nearly", "outside", "one place"],
)
def test_odd_clicks_give_finite_losses_and_boxes_only_where_there_is_room(xy, usable):
    model = model_of().train()
    batch = batch_of(xy)
    means = total_loss(model(batch))
    means.total.backward()
    assert torch.isfinite(means.total)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    found = model.eval().estimate(batch)
    assert int(found.valid.sum()) == usable
    assert torch.isfinite(found.boxes).all()
    assert ((found.boxes[:, 2:] > found.boxes[:, :2]).all(1) == found.valid).all()


def test_a_thousand_clicks_are_learned_from_in_portions_that_change_nothing(monkeypatch):
    model = model_of().train()
    g = torch.Generator().manual_seed(1)
    few = batch_of((torch.rand(12, 2, generator=g) * torch.tensor([90.0, 60.0])).tolist(), backgrounds=2)

    def gradient(batch):
        model.zero_grad()
        total_loss(model(batch)).total.backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    whole = gradient(few)
    monkeypatch.setattr(network, "_CHUNK", 17)
    for one, other in zip(whole, gradient(few), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    monkeypatch.setattr(network, "_CHUNK", 4096)
    xy = torch.rand(1000, 2, generator=g) * torch.tensor([90.0, 60.0])
    many = batch_of(xy.tolist(), (torch.arange(1000) % 2).tolist(), backgrounds=2)
    assert all(torch.isfinite(grad).all() for grad in gradient(many))
    assert model.eval().estimate(many).boxes.shape == (1000, 4)


def test_the_boxes_of_an_image_do_not_depend_on_its_company():
    model = model_of().eval()
    both = batch_of([[30, 30], [60, 20], [44, 40]], [0, 1, 1], [0, 0, 1], num_images=2)
    alone = replace(batch_of([[30, 30], [60, 20]], [0, 1]), images=both.images[:1])
    torch.testing.assert_close(
        model.estimate(both).boxes[:2], model.estimate(alone).boxes, rtol=1e-4, atol=1e-3
    )
