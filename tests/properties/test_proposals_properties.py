"""What holds for any proposals and any candidates."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from proposal_builders import prompts_at, random_proposals, same_proposals
from sapnet.data.rle import encode_mask
from sapnet.proposals.candidates import distinct_best, pairwise_overlap
from sapnet.proposals.proposer import collect_proposals
from sapnet.proposals.store_records import decode_record, encode_record, scan_records

quick = settings(deadline=None, max_examples=30)
stacks = st.integers(0, 6).flatmap(lambda n: arrays(bool, (n, 5, 6)))


@quick
@given(
    image_id=st.integers(-(2**63), 2**63 - 1),
    ids=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    masks=stacks,
    kinds=st.lists(st.sampled_from(["point", "box", "点"]), min_size=6, max_size=6),
    data=st.data(),
)
def test_a_record_gives_back_any_proposals(image_id, ids, masks, kinds, data):
    masks = masks if ids else masks[:0]
    owner = data.draw(
        st.lists(st.integers(0, max(len(ids) - 1, 0)), min_size=len(masks), max_size=len(masks))
    )
    found = collect_proposals(
        prompts_at(np.zeros((len(ids), 2)), image_id=image_id, ids=np.array(ids, dtype=np.int64)),
        (5, 6),
        prompt_index=owner,
        counts=[encode_mask(mask) for mask in masks],
        scores=np.linspace(-1, 1, len(masks)).tolist(),
        kinds=kinds[: len(masks)],
    )
    assert same_proposals(decode_record(encode_record(found)), found)


@quick
@given(cut=st.integers(0, 4000), seed=st.integers(0, 5))
def test_scanning_a_cut_file_finds_exactly_the_whole_records(cut, seed):
    records = [encode_record(random_proposals(i, seed=seed)) for i in range(1, 5)]
    whole = b"".join(records)
    ends = np.cumsum([len(record) for record in records])
    cut = min(cut, len(whole))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records"
        path.write_bytes(whole[:cut])
        found = list(scan_records(path))
    assert [place.image_id for place in found] == list(range(1, 1 + int((ends <= cut).sum())))


@quick
@given(masks=stacks, seed=st.integers(0, 9))
def test_collected_proposals_are_sorted_and_their_boxes_and_areas_are_the_masks(masks, seed):
    random = np.random.default_rng(seed)
    owner, scores = random.integers(0, 3, len(masks)), random.integers(0, 3, len(masks)).astype(float)
    found = collect_proposals(
        prompts_at(np.zeros((3, 2))),
        (5, 6),
        prompt_index=owner.tolist(),
        counts=[encode_mask(mask) for mask in masks],
        scores=scores.tolist(),
        kinds=["point"] * len(masks),
    )
    assert found.num_proposals == masks.any((1, 2)).sum()
    keys = list(zip(found.prompt_index.tolist(), (-found.scores).tolist(), strict=True))
    assert keys == sorted(keys)
    for mask, box, area in zip(found.masks(), found.boxes, found.areas, strict=True):
        rows, columns = np.nonzero(mask)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert area == mask.sum()
    total = sum(found.of_prompt(i).stop - found.of_prompt(i).start for i in range(3))
    assert total == found.num_proposals


@quick
@given(masks=stacks)
def test_overlaps_are_those_of_the_loop(masks):
    overlap = pairwise_overlap(masks)
    for i, a in enumerate(masks):
        for j, b in enumerate(masks):
            union = (a | b).sum()
            assert np.isclose(overlap[i, j], (a & b).sum() / union if union else 0.0)


@quick
@given(masks=stacks, threshold=st.floats(0.05, 1.0), most=st.integers(1, 6), seed=st.integers(0, 9))
def test_the_distinct_best_are_distinct_and_every_other_one_has_a_better_near_duplicate(
    masks, threshold, most, seed
):
    scores = np.random.default_rng(seed).uniform(size=len(masks))
    overlap = pairwise_overlap(masks)
    picked = distinct_best(scores, overlap, threshold, most)
    assert len(picked) <= most
    assert np.all(np.diff(scores[picked]) <= 0)
    for i in picked:
        assert all(i == j or overlap[i, j] < threshold for j in picked)
    if len(picked) < most:
        for i in set(range(len(masks))) - set(picked):
            assert any(overlap[i, j] >= threshold and scores[j] >= scores[i] for j in picked)
