"""Running a proposer over a point set: resumption, workers, and images that cannot be used."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from proposal_builders import BoxProposer, small_points, write_images
from sapnet.errors import DataError, JobError
from sapnet.proposals.generate import generate_proposals
from sapnet.proposals.proposer import Proposer
from sapnet.proposals.shared import begin_shared_store
from sapnet.proposals.store import ProposalStore
from sapnet.proposals.store_writer import StoreWriter

FILES = ("manifest.json", "proposals.bin", "index.npy")


@pytest.fixture(scope="module")
def points():
    return small_points()


@pytest.fixture(scope="module")
def images(points, tmp_path_factory):
    return write_images(points, tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def reference(points, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "s"
    generate_proposals(points, images, BoxProposer(), folder)
    return content(folder)


def content(folder):
    return [(folder / name).read_bytes() for name in FILES]


def test_every_image_and_every_click_is_answered(points, images, tmp_path):
    seen = []
    store = generate_proposals(
        points, images, BoxProposer(), tmp_path / "s", progress=lambda *state: seen.append(state)
    )
    assert seen == [(i, 6, min(4 * i, 20)) for i in range(1, 7)]
    assert store.manifest["counts"] == {"images": 6, "annotations": 10, "proposals": 20, "skipped_images": 0}
    assert store.manifest["proposer"] == {"name": "boxes", "settings": {"sides": [8, 16]}}
    assert store.of_image(10).num_proposals == 0
    assert store.of_image(20).annotation_ids.tolist() == [2000, 2001]
    assert len(ProposalStore.open(tmp_path / "s", points)) == 6


def test_workers_give_the_same_bytes(points, images, tmp_path, reference):
    generate_proposals(points, images, BoxProposer(), tmp_path / "s", workers=2)
    assert content(tmp_path / "s") == reference


def test_an_interrupted_run_keeps_what_was_done_and_continues_to_the_same_bytes(
    points, images, tmp_path, reference
):
    with pytest.raises(KeyboardInterrupt):
        generate_proposals(points, images, BoxProposer(interrupt_at=30), tmp_path / "s")
    assert len(ProposalStore.open(tmp_path / "s", allow_unfinished=True)) == 3
    seen = []
    generate_proposals(
        points, images, BoxProposer(), tmp_path / "s", progress=lambda *state: seen.append(state[0])
    )
    assert seen == [4, 5, 6]
    assert content(tmp_path / "s") == reference


def test_kill_9_at_any_moment_and_again_gives_the_same_bytes(points, images, tmp_path, reference):
    script = (
        "import sys; from proposal_builders import *; from sapnet.proposals.generate import generate_proposals;"
        "print('ready', flush=True);"
        "generate_proposals(small_points(), sys.argv[1], BoxProposer(delay=0.1), sys.argv[2])"
    )
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {script}"]
    for wait in (0.15, 0.27):
        process = subprocess.Popen([*command, images, tmp_path / "s"], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    generate_proposals(points, images, BoxProposer(), tmp_path / "s")
    assert content(tmp_path / "s") == reference


def test_missing_images_are_all_listed_before_anything_is_written(points, tmp_path):
    write_images(points, tmp_path / "images")
    for name in ("1.png", "4.png"):
        (tmp_path / "images" / name).unlink()
    with pytest.raises(DataError) as error:
        generate_proposals(points, tmp_path / "images", BoxProposer(), tmp_path / "s")
    assert error.value.problems == ("1.png (image 50) is missing.", "4.png (image 20) is missing.")
    assert not (tmp_path / "s").exists()
    with pytest.raises(DataError, match="no such image folder"):
        generate_proposals(points, tmp_path / "nowhere", BoxProposer(), tmp_path / "s")


@pytest.fixture
def bad_images(points, tmp_path):
    folder = write_images(points, tmp_path / "images")
    broken = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(broken[: len(broken) // 2])
    (folder / "3.png").write_bytes((folder / "0.png").read_bytes())
    from PIL import Image

    Image.open(folder / "0.png").resize((30, 20)).save(folder / "3.png")
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_images_are_all_listed_and_the_good_ones_kept(points, bad_images, tmp_path, workers):
    with pytest.raises(DataError) as error:
        generate_proposals(points, bad_images, BoxProposer(), tmp_path / "s", workers=workers)
    text = "\n".join(sorted(error.value.problems))
    assert "1.png (image 50)" in text
    assert "3.png (image 30) is 30 x 20 pixels after EXIF rotation, expected 64 x 48" in text
    assert "4 images are kept" in text
    assert "--skip-bad" in text


def test_bad_images_can_be_skipped_and_are_counted(points, bad_images, images, tmp_path, reference):
    (bad_images / "4.png").unlink()
    store = generate_proposals(points, bad_images, BoxProposer(), tmp_path / "s", skip_bad=True)
    assert store.manifest["counts"]["skipped_images"] == 3
    assert sorted(store.skipped) == [20, 30, 50]
    assert store.manifest["finished"]

    finished = content(tmp_path / "s")
    (bad_images / "4.png").write_bytes((images / "4.png").read_bytes())
    for again in (generate_proposals, begin_shared_store):
        with pytest.raises(DataError) as error:
            again(points, bad_images, BoxProposer(), tmp_path / "s")
        assert len(error.value.problems) == 3
        assert "1.png (image 50)" in "\n".join(error.value.problems)
        assert content(tmp_path / "s") == finished  # what was there can still be used
    generate_proposals(points, images, BoxProposer(), tmp_path / "s")
    assert content(tmp_path / "s") == reference


def test_a_failing_proposer_names_the_image_and_what_is_kept(points, images, tmp_path):
    with pytest.raises(JobError, match=r"'boxes' failed on 2\.png \(image 40\): ValueError: no idea.*2 of 6"):
        generate_proposals(points, images, BoxProposer(fail_at=40), tmp_path / "s")


def test_a_killed_worker_loses_nothing_that_was_finished(points, images, tmp_path, reference):
    with pytest.raises(JobError, match=r"worker process died.*of 6 images are kept"):
        generate_proposals(points, images, BoxProposer(die_at=10), tmp_path / "s", workers=2)
    generate_proposals(points, images, BoxProposer(), tmp_path / "s")
    assert content(tmp_path / "s") == reference


def test_a_full_disk_is_a_message_with_what_is_kept(points, images, tmp_path, monkeypatch):
    original = StoreWriter.append_record

    def failing(self, record):
        if len(self.done) == 3:
            raise JobError("disk full. 3 images are kept")
        original(self, record)

    monkeypatch.setattr(StoreWriter, "append_record", failing)
    with pytest.raises(JobError, match="3 images are kept"):
        generate_proposals(points, images, BoxProposer(), tmp_path / "s")
    assert len(ProposalStore.open(tmp_path / "s", allow_unfinished=True)) == 3


def test_the_test_proposer_fulfils_the_protocol():
    assert isinstance(BoxProposer(), Proposer)
