"""Original .pth files of SAM, HQ-SAM and MobileSAM become models of transformers."""

import numpy as np
import pytest
import torch

from oracles.sam_one_by_one import decode_one_by_one
from oracles.sam_original_names import original_tensors, tiny_vit_tensors
from oracles.sam_tiny_vit import encode
from sam_builders import SIDE, photo, planned, processor_of, random_model, save_checkpoint
from sapnet.data.rle import decode_masks
from sapnet.errors import CheckpointError
from sapnet.proposals.sam.decoding import decode_prompts, encode_image
from sapnet.proposals.sam.high_quality import complete_mask_decoder
from sapnet.proposals.sam.loading import load_sam
from sapnet.proposals.sam.tiny_image_encoder import TinyImageEncoder

pytest.importorskip("transformers")

QUERIES = [(0, "point", [(12.5, 9.0, 1)], None), (1, "box+point", [(40.0, 30.5, 1)], [20.0, 9.0, 60.0, 44.0])]


def model_of(name):
    """A tiny model with what the original code fixes: eight heads, and its epsilon."""
    model = random_model(name, heads=8)
    for layer in model.mask_decoder.transformer.layers:
        for norm in (layer.layer_norm1, layer.layer_norm2, layer.layer_norm3, layer.layer_norm4):
            norm.eps = 1e-5
    return model


def saved(tmp_path, tensors, file_name="weights.pth"):
    torch.save(tensors, tmp_path / file_name)
    return tmp_path / file_name


def problem_of(name, path):
    with pytest.raises(CheckpointError) as caught:
        load_sam(name, path)
    problem, *remedies = caught.value.problems
    assert len(remedies) <= 1
    assert all("hf download" in remedy for remedy in remedies)
    return problem


@pytest.mark.parametrize("name", ["sam", "sam-hq"])
def test_an_original_file_gives_the_model_with_its_tensors(name, tmp_path):
    model = model_of(name)
    sam = load_sam(name, saved(tmp_path, original_tensors(model)))
    if name == "sam-hq":
        complete_mask_decoder(model.mask_decoder)
    found, expected = sam.model.state_dict(), model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    image = photo()
    decoded = decode_prompts(sam, encode_image(sam, image), planned(QUERIES), multimask=True, chunk_size=4)
    masks = decode_masks(decoded.counts, image.shape[:2])
    answers = decode_one_by_one(model, processor_of(name), image, QUERIES)
    logits = np.concatenate([item[2] for item in answers])
    near = np.abs(logits) < 1e-4 * np.abs(logits).max()
    assert near.mean() < 0.05
    assert np.array_equal(masks | near, np.concatenate([item[0] for item in answers]) | near)


def test_sizes_of_the_network_are_read_off_the_tensors(tmp_path):
    sam = load_sam("sam", saved(tmp_path, {"model": original_tensors(model_of("sam"))}))
    vision = sam.model.config.vision_config
    assert (vision.image_size, vision.patch_size, vision.window_size) == (SIDE, 8, 3)
    assert list(vision.global_attn_indexes) == [1]
    assert sam.image_processor.size["longest_edge"] == SIDE
    assert sam.image_processor.pad_size["height"] == SIDE


def test_tiny_vit_follows_the_papers():
    tensors = tiny_vit_tensors(depths=(1, 2, 1, 1))
    encoder = TinyImageEncoder.of_tensors(
        {f"image_encoder.{name}": value for name, value in tensors.items()}, image_size=80
    ).eval()
    pixels = torch.randn(1, 3, 80, 80, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (features,) = encoder(pixels)
        expected = encode(tensors, pixels, depths=(1, 2, 1, 1))
    assert features.shape == (1, 32, 5, 5)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_mobile_sam_file_proposes(tmp_path, precision):
    whole = original_tensors(model_of("sam"))
    tensors = {name: value for name, value in whole.items() if not name.startswith("image_encoder.")}
    # Windows as large as in MobileSAM keep the number of windows at 1024 pixels small.
    encoder = tiny_vit_tensors(windows=(1, 7, 14, 7))
    tensors.update({f"image_encoder.{name}": value for name, value in encoder.items()})
    sam = load_sam("sam", saved(tmp_path, tensors, "mobile_sam.pt"), precision=precision)
    encoded = encode_image(sam, photo())
    assert encoded.features["image_embeddings"].shape == (1, 32, 64, 64)
    decoded = decode_prompts(sam, encoded, planned(QUERIES[:1]), multimask=True, chunk_size=4)
    masks = decode_masks(decoded.counts, (48, 80))
    assert len(masks) == 3
    assert 0.0 < masks.mean() < 1.0


def test_a_file_of_another_member_names_the_proposer_that_fits(tmp_path):
    path = saved(tmp_path, original_tensors(model_of("sam-hq")))
    assert "use --proposer sam-hq" in problem_of("sam", path)
    path = saved(tmp_path, original_tensors(model_of("sam")))
    assert "use --proposer sam." in problem_of("sam-hq", path)
    path = saved(tmp_path, {"model": {"sam_mask_decoder.iou_token.weight": torch.zeros(1)}})
    assert "use --proposer sam2" in problem_of("sam", path)


def test_the_light_high_quality_sam_is_refused_with_a_way_out(tmp_path):
    tensors = original_tensors(model_of("sam-hq"))
    tensors["image_encoder.patch_embed.seq.0.c.weight"] = torch.zeros(1)
    assert "not supported; use --proposer sam-hq with" in problem_of("sam-hq", saved(tmp_path, tensors))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_corrupt_file_is_refused(tmp_path, content):
    path = saved(tmp_path, original_tensors(model_of("sam")))
    path.write_bytes(path.read_bytes()[:1000] if content is None else content)
    assert "download it again" in problem_of("sam", path)


def test_a_file_that_would_run_code_is_not_loaded(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (pytest.fail, ("code of the file ran",))

    assert "download it again" in problem_of("sam", saved(tmp_path, {"a": Harmful()}))


def test_a_file_of_other_tensors_is_refused(tmp_path):
    assert "no original checkpoint" in problem_of("sam", saved(tmp_path, {"conv.weight": torch.zeros(1)}))
    assert "no tensors" in problem_of("sam", saved(tmp_path, {"epoch": 3}))
    assert "expected named tensors" in problem_of("sam", saved(tmp_path, [1, 2]))


def test_missing_unknown_and_misshapen_tensors_are_named(tmp_path):
    tensors = original_tensors(model_of("sam"))
    removed = tensors.pop("image_encoder.blocks.1.mlp.lin2.bias")
    assert "lacks 1 tensors, such as vision_encoder.layers.1.mlp.lin2.bias" in problem_of(
        "sam", saved(tmp_path, tensors)
    )
    tensors["image_encoder.blocks.1.mlp.lin2.bias"] = removed
    tensors["mask_decoder.novelty"] = removed
    assert "1 unknown tensors, such as mask_decoder.novelty" in problem_of("sam", saved(tmp_path, tensors))
    del tensors["mask_decoder.novelty"]
    tensors["image_encoder.blocks.1.mlp.lin2.bias"] = torch.zeros(3)
    assert "other shapes" in problem_of("sam", saved(tmp_path, tensors))
    del tensors["image_encoder.pos_embed"]
    assert "not those of SAM" in problem_of("sam", saved(tmp_path, tensors))


def test_original_files_of_the_video_members_are_refused_with_the_command_that_helps(tmp_path):
    path = saved(tmp_path, {"a": torch.zeros(1)})
    assert "hf download facebook/sam2.1-hiera-large --local-dir sam2" in problem_of("sam2", path)


def test_weights_of_a_folder_are_not_given_as_a_file(tmp_path):
    save_checkpoint("sam", tmp_path / "sam")
    assert "Give the folder that holds it" in problem_of("sam", tmp_path / "sam" / "model.safetensors")
