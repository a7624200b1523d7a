"""Batched decoding gives what transformers gives one prompt at a time; masks come back at the image's size."""

import numpy as np
import pytest
import torch

from oracles.sam_high_quality import high_quality_masks
from oracles.sam_one_by_one import decode_one_by_one
from sam_builders import FAMILY_NAMES, SIDE, photo, planned, processor_of, random_model
from sapnet.data.rle import decode_masks
from sapnet.errors import JobError
from sapnet.proposals.sam import decoding
from sapnet.proposals.sam.decoding import decode_prompts, encode_image
from sapnet.proposals.sam.high_quality import complete_mask_decoder
from sapnet.proposals.sam.loading import load_sam

pytest.importorskip("transformers")

QUERIES = [
    (0, "point", [(12.5, 9.0, 1)], None),
    (0, "point+negatives", [(12.5, 9.0, 1), (40.0, 30.5, 0), (70.25, 41.0, 0)], None),
    (0, "box", [], [4.0, 2.5, 30.0, 20.0]),
    (1, "point", [(40.0, 30.5, 1)], None),
    (1, "box+point", [(40.0, 30.5, 1), (41.0, 33.0, 1)], [25.0, 20.0, 60.0, 44.0]),
    (2, "point", [(79.9, 47.9, 1)], None),
    (2, "point+negatives", [(70.25, 41.0, 1), (12.5, 9.0, 0), (1.0, 1.0, 0)], None),
    (2, "box+point", [(70.25, 41.0, 1)], [60.0, 30.0, 80.0, 48.0]),
]
"""Prompts with one to three points, with and without boxes, in no order of shape."""


@pytest.fixture(params=FAMILY_NAMES)
def name(request):
    return request.param


@pytest.fixture
def sam(checkpoints, name):
    return load_sam(name, checkpoints[name])


def masks_of(decoded, size):
    """Lists of masks and scores per query."""
    masks = decode_masks(decoded.counts, size)
    number = int(decoded.query.max()) + 1
    return [(masks[decoded.query == i], decoded.scores[decoded.query == i]) for i in range(number)]


def assert_same_masks(masks, expected, logits, slack=1e-4):
    """Equal but where the logit is so near 0 that rounding decides."""
    near = np.abs(logits) < slack * np.abs(logits).max()
    assert near.mean() < 0.05
    assert np.array_equal(masks | near, expected | near)


def test_chunks_of_ragged_prompts_give_the_masks_of_one_by_one_decoding(sam, name):
    image = photo()
    encoded = encode_image(sam, image)
    decoded = decode_prompts(sam, encoded, planned(QUERIES), multimask=True, chunk_size=2)
    expected = decode_one_by_one(sam.model, processor_of(name), image, QUERIES)
    found = masks_of(decoded, image.shape[:2])
    assert len(found) == len(expected)
    for (masks, scores), (true_masks, true_scores, logits) in zip(found, expected, strict=True):
        assert masks.shape == (3, *image.shape[:2])
        assert_same_masks(masks, true_masks, logits)
        np.testing.assert_allclose(scores, true_scores, atol=2e-5)
    assert np.std([masks.mean() for masks, _ in found]) > 0.01


def test_a_loaded_checkpoint_is_the_saved_model(sam, name):
    image = photo(seed=3)
    encoded = encode_image(sam, image)
    decoded = decode_prompts(sam, encoded, planned(QUERIES[:1]), multimask=True, chunk_size=8)
    model = random_model(name)
    if name == "sam-hq":
        complete_mask_decoder(model.mask_decoder)
    [(masks, scores, logits)] = decode_one_by_one(model, processor_of(name), image, QUERIES[:1])
    [(found, found_scores)] = masks_of(decoded, image.shape[:2])
    assert_same_masks(found, masks, logits)
    np.testing.assert_allclose(found_scores, scores, atol=2e-5)


def test_one_mask_per_prompt_is_the_single_mask_of_the_model(sam, name):
    image = photo(seed=1)
    decoded = decode_prompts(sam, encode_image(sam, image), planned(QUERIES), multimask=False, chunk_size=3)
    expected = decode_one_by_one(sam.model, processor_of(name), image, QUERIES, multimask=False)
    assert decoded.query.tolist() == list(range(len(QUERIES)))
    for (masks, _), (true_masks, _, logits) in zip(masks_of(decoded, image.shape[:2]), expected, strict=True):
        assert_same_masks(masks, true_masks, logits)


@pytest.mark.parametrize("size", [(90, 31), (7, 200)])
def test_images_of_any_shape_get_masks_of_their_size(sam, name, size):
    image = photo(*size)
    queries = [(0, "point", [(size[1] / 2, size[0] / 2, 1)], [1.0, 1.0, size[1] - 1.0, size[0] - 1.0])]
    decoded = decode_prompts(sam, encode_image(sam, image), planned(queries), multimask=True, chunk_size=4)
    [(true_masks, _, logits)] = decode_one_by_one(sam.model, processor_of(name), image, queries)
    assert_same_masks(decode_masks(decoded.counts, size), true_masks, logits)


def test_the_image_is_encoded_once_whatever_the_number_of_prompts(sam, monkeypatch):
    calls = []
    encode = sam.model.get_image_embeddings
    monkeypatch.setattr(sam.model, "get_image_embeddings", lambda *a, **k: calls.append(1) or encode(*a, **k))
    hook = sam.model.vision_encoder.register_forward_hook(lambda *_: calls.append(1))
    encoded = encode_image(sam, photo())
    decode_prompts(sam, encoded, planned(QUERIES * 3), multimask=True, chunk_size=2)
    hook.remove()
    assert len(calls) == 2


def test_at_most_a_chunk_of_prompts_is_decoded_at_a_time(sam):
    sizes = []
    hook = sam.model.mask_decoder.register_forward_hook(lambda _m, _i, out: sizes.append(out[1].shape[1]))
    decode_prompts(sam, encode_image(sam, photo()), planned(QUERIES[:1] * 7), multimask=True, chunk_size=3)
    hook.remove()
    assert sizes == [3, 3, 1]


@pytest.mark.parametrize("chunk_size", [1, 100])
def test_the_size_of_chunks_does_not_change_the_masks(checkpoints, chunk_size):
    sam = load_sam("sam2", checkpoints["sam2"])
    encoded = encode_image(sam, photo())
    plan = planned(QUERIES)
    one, other = (decode_prompts(sam, encoded, plan, multimask=True, chunk_size=n) for n in (3, chunk_size))
    masks, others = (decode_masks(item.counts, encoded.image_size) for item in (one, other))
    assert (masks != others).mean() < 1e-3
    np.testing.assert_allclose(one.scores, other.scores, atol=2e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_gives_nearly_the_masks_of_full_precision(checkpoints, name, precision):
    image = photo()
    plan = planned(QUERIES)
    # HQ-SAM sorts its three masks by scores that are nearly equal here; of one mask it has no choice.
    multimask = name != "sam-hq"
    decoded = []
    for choice in ("no", precision):
        sam = load_sam(name, checkpoints[name], precision=choice)
        decoded.append(decode_prompts(sam, encode_image(sam, image), plan, multimask=multimask, chunk_size=8))
    full, half = (decode_masks(item.counts, image.shape[:2]) for item in decoded)
    assert (full != half).mean() < 0.1
    np.testing.assert_allclose(decoded[0].scores, decoded[1].scores, atol=0.1)
    assert decoded[0].scores.tolist() != decoded[1].scores.tolist()


def test_no_prompts_give_no_masks(checkpoints):
    sam = load_sam("sam2", checkpoints["sam2"])
    decoded = decode_prompts(sam, encode_image(sam, photo()), planned([]), multimask=True, chunk_size=4)
    assert (len(decoded.query), decoded.counts, len(decoded.scores)) == (0, (), 0)


def test_a_prompt_without_point_and_box_is_refused(checkpoints):
    sam = load_sam("sam2", checkpoints["sam2"])
    with pytest.raises(ValueError, match="neither points nor a box"):
        decode_prompts(
            sam, encode_image(sam, photo()), planned([(0, "box", [], None)]), multimask=True, chunk_size=4
        )


def test_scores_are_predicted_overlaps_between_0_and_1(checkpoints):
    sam = load_sam("sam", checkpoints["sam"])
    with torch.no_grad():
        sam.model.mask_decoder.iou_prediction_head.proj_out.bias.copy_(torch.tensor([0.5, 7.0, -7.0, 0.5]))
    decoded = decode_prompts(
        sam, encode_image(sam, photo()), planned(QUERIES[:2]), multimask=True, chunk_size=4
    )
    assert decoded.scores[:2].tolist() == [1.0, 0.0]
    assert 0.0 < decoded.scores[2] < 1.0


def test_numbers_that_are_not_finite_stop_the_job_with_advice(checkpoints):
    sam = load_sam("sam", checkpoints["sam"], precision="fp16")
    with torch.no_grad():
        sam.model.mask_decoder.iou_prediction_head.proj_out.bias.fill_(float("nan"))
    with pytest.raises(JobError, match="not finite; use precision bf16 or no"):
        decode_prompts(sam, encode_image(sam, photo()), planned(QUERIES[:1]), multimask=True, chunk_size=4)


def test_few_masks_are_upsampled_at_a_time(checkpoints, monkeypatch):
    sam = load_sam("sam", checkpoints["sam"])
    encoded = encode_image(sam, photo())
    whole = decode_prompts(sam, encoded, planned(QUERIES), multimask=True, chunk_size=8)
    seen = []
    process = sam.image_processor.post_process_masks
    monkeypatch.setattr(decoding, "_UPSAMPLED_VALUES", 2 * SIDE * SIDE)
    monkeypatch.setattr(
        sam.image_processor,
        "post_process_masks",
        lambda masks, *a, **k: seen.append(len(masks[0])) or process(masks, *a, **k),
        raising=False,
    )
    pieces = decode_prompts(sam, encoded, planned(QUERIES), multimask=True, chunk_size=8)
    assert max(seen) == 2
    assert pieces.counts == whole.counts


def test_padding_points_would_change_the_masks(checkpoints):
    # Why prompts are grouped by shape: the padding label leaves a token in the attention.
    sam = load_sam("sam", checkpoints["sam"])
    encoded = encode_image(sam, photo())
    point, far = [12.5, 9.0], [-10.0, -10.0]
    with torch.no_grad():
        alone = sam.model(
            **encoded.features, input_points=torch.tensor([[[point]]]), input_labels=torch.tensor([[[1]]])
        )
        padded = sam.model(
            **encoded.features,
            input_points=torch.tensor([[[point, far]]]),
            input_labels=torch.tensor([[[1, -10]]]),
        )
    assert not torch.allclose(alone.pred_masks, padded.pred_masks, atol=1e-2)


def test_high_quality_masks_follow_the_paper(checkpoints):
    sam = load_sam("sam-hq", checkpoints["sam-hq"])
    model = sam.model
    encoded = encode_image(sam, photo())
    points, labels = torch.tensor([[[[9.0, 20.0], [33.0, 50.0]]]]), torch.tensor([[[1, 0]]])
    with torch.no_grad():
        outputs = model(**encoded.features, input_points=points, input_labels=labels)
        sparse, dense = model.prompt_encoder(points, labels, None, None)
        masks, quality = high_quality_masks(
            model.mask_decoder,
            image=encoded.features["image_embeddings"].clone(),
            early=encoded.features["intermediate_embeddings"][0].clone(),
            positions=model.get_image_wide_positional_embeddings(),
            sparse=sparse[0, 0],
            dense=dense,
        )
    torch.testing.assert_close(outputs.pred_masks[0, 0], masks, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(outputs.iou_scores[0, 0], quality)


def test_completing_a_decoder_that_is_complete_changes_nothing():
    model = random_model("sam")
    call = {
        "pixel_values": torch.rand(1, 3, SIDE, SIDE),
        "input_points": torch.rand(1, 4, 2, 2) * SIDE,
        "input_labels": torch.ones(1, 4, 2, dtype=torch.int64),
    }
    with torch.no_grad():
        before = model(**call)
        complete_mask_decoder(model.mask_decoder)
        after = model(**call)
    assert torch.equal(before.pred_masks, after.pred_masks)
