"""Features of a wholly frozen backbone: of each image alone, and kept on disk without changing any result."""

import multiprocessing
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sapnet.build import build_dataset, build_model
from sapnet.data.annotations import load_points
from sapnet.data.collate import collate
from sapnet.data.feature_files import FeatureFiles
from sapnet.data.transforms import Geometry
from sapnet.engine.kept_features import keep_features
from sapnet.engine.session import SessionOptions, TrainingData, choose, run_session
from sapnet.errors import DataError
from sapnet.models.backbone import Backbone
from sapnet.models.frozen_features import features_digest, frozen_features
from sapnet.proposals.store import ProposalStore
from training_builders import network_that_tells_apart, tiny_config, write_tiny_data

FROZEN = {"backbone": {"frozen_stages": 4}}
# Two sizes, so that images of a batch differ and one is padded further than it would be alone.
SIZES = {"train_short_sides": [40, 96], "max_long_side": 96}
GEOMETRY = Geometry((64, 64), (64, 64))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    paths = write_tiny_data(tmp_path_factory.mktemp("tiny"))
    points = load_points(paths.points)
    return TrainingData.of(points, paths.images, ProposalStore.open(paths.store, points))


def settings(mode="selection-only", **changes):
    return tiny_config(model={**FROZEN, **changes}, data=SIZES, training={"mode": mode})


def files_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def trained(data, folder, config, features=None):
    """Weights and losses of a training."""
    options = SessionOptions(quiet=True, features=features)
    done = run_session(data, folder, config, inputs={}, options=options)
    metrics = [line for line in (folder / "metrics.jsonl").read_text().splitlines() if '"loss/total"' in line]
    losses = [line.split('"loss/')[1:] for line in metrics]
    assert losses
    return done.model.state_dict(), [[part.split("images_per")[0] for part in line] for line in losses]


def assert_same(first, second):
    assert first[1] == second[1]
    assert [key for key, value in first[0].items() if not torch.equal(value, second[0][key])] == []


@pytest.mark.parametrize("mode", ["selection-only", "top-score"])
def test_a_training_with_kept_features_equals_one_without_to_the_bit(tiny, tmp_path, mode, monkeypatch):
    config = settings(mode)
    plain = trained(tiny, tmp_path / "plain", config)
    assert_same(plain, trained(tiny, tmp_path / "filling", config, tmp_path / "features"))
    written = files_in(tmp_path / "features")
    # Four images of one size each in each of two epochs, mirrored or not: the pooled stages, or all four.
    assert len(written) % (3 if mode == "selection-only" else 4) == 0
    assert len(written) > 4

    def computes(*_):
        raise AssertionError("everything was kept")

    monkeypatch.setattr(Backbone, "forward", computes)
    monkeypatch.setattr("sapnet.data.dataset.read_image", computes)
    assert_same(plain, trained(tiny, tmp_path / "reading", config, tmp_path / "features"))
    assert files_in(tmp_path / "features") == written


def test_kept_features_leave_the_picks_as_they_are(tiny, tmp_path, monkeypatch):
    config = tiny_config(model=FROZEN, training={"mode": "selection-only"}, labelling={"scales": [1.0, 1.5]})
    network = network_that_tells_apart(config)
    features = SessionOptions(quiet=True, features=tmp_path)
    plain = choose(network, tiny, config, options=SessionOptions(quiet=True))
    assert files_in(tmp_path) == []
    assert choose(network, tiny, config, options=features) == plain
    assert len(files_in(tmp_path)) == 4 * 2 * 3
    monkeypatch.setattr(Backbone, "forward", lambda *_: pytest.fail("everything was kept"))
    assert choose(network, tiny, config, options=features) == plain


def test_selections_leave_the_finest_stage_to_segmenters(tiny, tmp_path):
    network = network_that_tells_apart(settings())
    of_selection, of_segmenter = (
        feature_files_of(network, tiny, mode, tmp_path) for mode in ("selection-only", "top-score")
    )
    assert of_selection.folder == of_segmenter.folder
    assert (of_selection.first_map, of_segmenter.first_map) == (1, 0)


def feature_files_of(network, data, mode, folder):
    dataset = build_dataset(settings(mode), data.points, data.images_dir, data.store, training=True)
    keep_features(network, [dataset], settings(mode), folder)
    assert network.feature_keeper is dataset.feature_files
    return dataset.feature_files


@pytest.mark.parametrize("stages", [0, 3])
def test_nothing_is_kept_of_a_backbone_that_learns(tiny, tmp_path, stages):
    config = tiny_config(model={"backbone": {"frozen_stages": stages}})
    network = build_model(config.model, num_classes=2, mask_stride=4)
    dataset = build_dataset(config, tiny.points, tiny.images_dir, tiny.store, training=True)
    keep_features(network, [dataset], config, tmp_path)
    assert dataset.feature_files is None
    assert dataset[0].view is None


def batch_of_two(data):
    """A batch of a small and a large image; both are square, so the small one is padded on two sides."""
    samples = []
    for side in (40, 96):
        config = tiny_config(data={"test_short_side": side, "max_long_side": 96})
        view = build_dataset(config, data.points, data.images_dir, data.store, training=False)
        samples.append(view[0])
    return collate(samples, size_divisor=32, mask_stride=4)


def test_features_do_not_depend_on_the_other_images_of_the_batch(tiny):
    backbone = Backbone("test_efficientnet", weights="none", frozen_stages=4)
    batch = batch_of_two(tiny)
    together = frozen_features(backbone, batch, first=0)
    with torch.no_grad():
        alone = backbone(batch.images[:1, :, :64, :64])
    for joined, own, stride in zip(together, alone, backbone.strides, strict=True):
        assert joined.shape[2:] == (96 // stride, 96 // stride)
        assert not joined.requires_grad
        cells = 64 // stride
        assert torch.equal(joined[:1, :, :cells, :cells], own)
        assert not joined[0, :, cells:].any()
        assert not joined[0, :, :, cells:].any()


def test_a_segmenter_sees_in_training_what_it_sees_at_inference(tiny):
    network = network_that_tells_apart(settings("top-score"))
    view = build_dataset(tiny_config(), tiny.points, tiny.images_dir, tiny.store, training=False)
    batch = collate([view[0]], size_divisor=32, mask_stride=4)
    with torch.no_grad():
        expected = network.segment(batch.images)
        found = network.segmentation(network.pyramid(frozen_features(network.backbone, batch, first=0)))
    torch.testing.assert_close(found.mask_features, expected.mask_features)
    torch.testing.assert_close(found.category_logits, expected.category_logits)


def test_stages_that_were_not_kept_are_missed(tiny):
    backbone = Backbone("test_efficientnet", weights="none", frozen_stages=4)
    batch = batch_of_two(tiny)
    kept = tuple(stage[0] for stage in frozen_features(backbone, batch, first=1))
    with pytest.raises(ValueError, match="3 stages are kept of an image, but 4 are needed"):
        frozen_features(backbone, replace(batch, features=(kept, None)), first=0)


def random_maps(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(channels, 4, 6, generator=generator) for channels in (2, 3, 5))


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-20])


def turn_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


def replace_by_text(path):
    path.write_text("not a map")


@pytest.mark.parametrize("damage", [cut_off, turn_a_bit, replace_by_text, Path.unlink])
def test_a_damaged_file_is_computed_again(tmp_path, damage):
    files = FeatureFiles(tmp_path, "network", first_map=1, num_maps=3)
    files.write("ab12", random_maps())
    assert [torch.equal(*pair) for pair in zip(files.read("ab12"), random_maps()[1:], strict=True)] == [
        True
    ] * 2
    damage(files_in(tmp_path)[0])
    assert files.read("ab12") is None
    files.write("ab12", random_maps())
    assert files.read("ab12") is not None
    assert files.read("ab13") is None


def test_damaged_files_change_no_training(tiny, tmp_path):
    config = settings()
    plain = trained(tiny, tmp_path / "filling", config, tmp_path / "features")
    for path in files_in(tmp_path / "features")[::2]:
        turn_a_bit(path)
    assert_same(plain, trained(tiny, tmp_path / "again", config, tmp_path / "features"))


def test_a_full_or_forbidden_disk_stops_nothing(tmp_path):
    (tmp_path / "network").write_text("a file where the folder should be")
    files = FeatureFiles(tmp_path, "network", first_map=0, num_maps=3)
    files.write("ab12", random_maps())
    assert files.read("ab12") is None


@pytest.mark.parametrize(("free", "kept"), [(1.9e9, 0), (2.1e9, 3)])
def test_nothing_more_is_kept_on_a_disk_that_is_nearly_full(tmp_path, monkeypatch, free, kept):
    usage = shutil.disk_usage(tmp_path)._replace(free=int(free))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    files = FeatureFiles(tmp_path / "absent", "network", first_map=0, num_maps=3)
    files.write("ab12", random_maps())
    assert len(files_in(tmp_path)) == kept


def test_a_view_is_named_after_content_size_and_mirroring(tiny, tmp_path):
    files = FeatureFiles(tmp_path, "network", first_map=0, num_maps=4)
    path, other = (tiny.images_dir / name for name in tiny.points.images.file_names[:2])
    moved = tmp_path / "moved.png"
    moved.write_bytes(path.read_bytes())
    assert files.view_name(moved, GEOMETRY) == files.view_name(path, GEOMETRY)
    names = {
        files.view_name(path, GEOMETRY),
        files.view_name(other, GEOMETRY),
        files.view_name(path, replace(GEOMETRY, flipped=True)),
        files.view_name(path, replace(GEOMETRY, input_size=(96, 96))),
        files.view_name(path, replace(GEOMETRY, original_size=(64, 65))),
    }
    assert len(names) == 5
    assert files.view_name(tmp_path / "absent.png", GEOMETRY) is None


def test_an_absent_image_is_told_of_as_without_kept_features(tiny, tmp_path):
    network = network_that_tells_apart(settings())
    dataset = build_dataset(settings(), tiny.points, tmp_path, tiny.store, training=True)
    keep_features(network, [dataset], settings(), tmp_path / "features")
    with pytest.raises(DataError, match="there is no such image"):
        dataset[0]


def test_another_network_or_preparation_has_another_digest():
    torch.manual_seed(0)
    backbone = Backbone("test_efficientnet", weights="none", frozen_stages=4)
    common = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "size_divisor": 32}
    first = features_digest(backbone, **common)
    assert features_digest(backbone, **common) == first
    assert features_digest(backbone, **{**common, "mean": (0.5, 0.5, 0.4)}) != first
    assert features_digest(backbone, **{**common, "std": (0.5, 0.5, 0.4)}) != first
    assert features_digest(backbone, **{**common, "size_divisor": 64}) != first
    parameter = next(backbone.parameters())
    with torch.no_grad():
        parameter.view(-1)[0] += 1
    assert features_digest(backbone, **common) != first


def test_features_of_another_number_of_threads_have_another_digest(monkeypatch):
    backbone = Backbone("test_efficientnet", weights="none", frozen_stages=4)
    common = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "size_divisor": 32}
    digests = set()
    for threads in (1, 2, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        digests.add(features_digest(backbone, **common))
    assert len(digests) == 2


def test_features_on_another_canvas_are_not_taken_for_these(tiny, tmp_path):
    # 40 x 40 input pixels are padded to 64 or to 128, which gives maps of other sizes.
    network, found = network_that_tells_apart(settings()), []
    for divisor in (32, 128, 32):
        config = tiny_config(
            model=FROZEN,
            data={"test_short_side": 40, "max_long_side": 96, "size_divisor": divisor},
            training={"mode": "selection-only"},
        )
        dataset = build_dataset(config, tiny.points, tiny.images_dir, tiny.store, training=False)
        keep_features(network, [dataset], config, tmp_path)
        sample = dataset[0]
        found.append(None if sample.features is None else sample.features[0].shape)
        with torch.no_grad():
            network(collate([sample], size_divisor=divisor, mask_stride=4), "selection")
    assert found[:2] == [None, None]
    assert found[2] is not None


def _write_again_and_again(folder):
    files = FeatureFiles(folder, "network", first_map=0, num_maps=3)
    for _ in range(40):
        files.write("ab12", random_maps())


def test_two_processes_may_write_and_read_the_same_view(tmp_path):
    files = FeatureFiles(tmp_path, "network", first_map=0, num_maps=3)
    files.write("ab12", random_maps())
    writer = multiprocessing.get_context("fork").Process(target=_write_again_and_again, args=(tmp_path,))
    writer.start()
    for _ in range(40):
        found = files.read("ab12")
        assert found is not None
        assert all(torch.equal(*pair) for pair in zip(found, random_maps(), strict=True))
        files.write("ab12", random_maps())
    writer.join()
    assert writer.exitcode == 0
    assert len(files_in(tmp_path)) == 3


def test_kept_images_are_not_read(tiny, tmp_path):
    network = network_that_tells_apart(settings())
    dataset = build_dataset(settings(), tiny.points, tiny.images_dir, tiny.store, training=True)
    keep_features(network, [dataset], settings(), tmp_path)
    first = dataset[0]
    assert first.features is None
    with torch.no_grad():
        network(collate([first], size_divisor=32, mask_stride=4), "selection")
    second = dataset[0]
    assert len(second.features) == 3
    assert not second.image.any()
    assert second.image.shape == first.image.shape
    assert torch.equal(second.bags.masks, first.bags.masks)
