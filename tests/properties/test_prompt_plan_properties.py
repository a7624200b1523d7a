"""Prompt plans agree with their loop-written oracle, and no click changes what another one gets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles.prompt_plan import planned
from proposal_builders import prompts_at
from sapnet.proposals.prompt_plan import plan_prompts

UNJITTERED = ("point", "point+negatives", "box", "box+point")
few = settings(deadline=None, max_examples=30)
counts = st.integers(0, 12)
seeds = st.integers(0, 10**6)


def random_prompts(seed, count):
    """Clicks on a coarse grid, so that ties and equal places occur; with extra and negative points."""
    random = np.random.default_rng(seed)
    more = {}
    for name in ("extra", "negative"):
        number = random.integers(0, 6) if count else 0
        more[f"{name}_xy"] = random.uniform(0, 60, (number, 2))
        more[f"{name}_owner"] = random.integers(0, max(count, 1), number)
    prompts = prompts_at(
        random.integers(0, 6, (count, 2)) * 10.0,
        image_id=int(random.integers(-9, 9)),
        ids=random.choice(1000, count, replace=False) - 500,
        labels=random.integers(0, 2, count),
        **more,
    )
    boxes = np.sort(random.uniform(0, 60, (count, 2, 2)), axis=1).reshape(count, 4)
    boxes[random.random(count) < 0.4] = np.nan
    return prompts, boxes


def plan(prompts, boxes, kinds, *, most=3, negatives="same-class", seed=0):
    return plan_prompts(
        prompts,
        kinds=kinds,
        boxes=boxes,
        max_negatives=most,
        negatives=negatives,
        jitter_pixels=4.0,
        jitter_count=2,
        seed=seed,
        image_size=(70, 70),
    )


def as_queries(result):
    """The plan in the form of the oracle."""
    queries = []
    for index, (owner, kind, box) in enumerate(zip(result.owner, result.kinds, result.boxes, strict=True)):
        mine = result.point_query == index
        signs = result.point_positive[mine]
        points = [(*xy, sign) for xy, sign in zip(result.point_xy[mine], signs, strict=True)]
        queries.append((owner, kind, points, None if np.isnan(box).any() else tuple(box)))
    return queries


@few
@given(seeds, counts, st.integers(0, 5), st.sampled_from(["same-class", "all"]), st.permutations(UNJITTERED))
def test_the_plan_is_the_loops(seed, count, most, negatives, kinds):
    prompts, boxes = random_prompts(seed, count)
    result = plan(prompts, boxes, kinds[: 1 + seed % 4], most=most, negatives=negatives)
    assert as_queries(result) == planned(prompts, kinds[: 1 + seed % 4], boxes, most, negatives)
    assert (np.diff(result.point_query) >= 0).all()


@few
@given(seeds, st.integers(1, 12), st.integers(0, 2**70))
def test_the_order_of_the_clicks_does_not_change_their_queries(seed, count, jitter_seed):
    prompts, boxes = random_prompts(seed, count)
    order = np.random.default_rng(seed).permutation(count)
    position = np.argsort(order)
    shuffled = replace(
        prompts,
        annotation_ids=prompts.annotation_ids[order],
        xy=prompts.xy[order],
        labels=prompts.labels[order],
        extra_owner=position[prompts.extra_owner],
        negative_owner=position[prompts.negative_owner],
    )
    kinds = (*UNJITTERED, "jittered")
    first = as_queries(plan(prompts, boxes, kinds, seed=jitter_seed))
    second = as_queries(plan(shuffled, boxes[order], kinds, seed=jitter_seed))
    assert first == sorted(((order[query[0]], *query[1:]) for query in second), key=lambda query: query[0])


@few
@given(seeds, st.integers(1, 12), st.data())
def test_other_clicks_do_not_change_a_jittered_query(seed, count, data):
    prompts, _ = random_prompts(seed, count)
    chosen = data.draw(st.integers(0, count - 1))
    alone = prompts_at(
        prompts.xy[[chosen]],
        image_id=prompts.image_id,
        ids=prompts.annotation_ids[[chosen]],
        **{
            f"{name}_{part}": values[getattr(prompts, f"{name}_owner") == chosen] * factor
            for name in ("extra", "negative")
            for part, values, factor in (
                ("xy", getattr(prompts, f"{name}_xy"), 1.0),
                ("owner", getattr(prompts, f"{name}_owner"), 0),
            )
        },
    )
    among = [query for query in as_queries(plan(prompts, None, ["jittered"])) if query[0] == chosen]
    assert [query[1:] for query in among] == [
        query[1:] for query in as_queries(plan(alone, None, ["jittered"]))
    ]
