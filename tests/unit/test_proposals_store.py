"""The proposal store: what it keeps, what it refuses, and that nothing finished is lost."""

from __future__ import annotations

import errno
import json
import pickle
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from proposal_builders import random_proposals, same_proposals, small_points
from sapnet.errors import JobError, StoreError
from sapnet.proposals import store as store_module
from sapnet.proposals import store_writer
from sapnet.proposals.store import INDEX_DTYPE, ProposalStore
from sapnet.proposals.store_records import encode_record
from sapnet.proposals.store_writer import StoreWriter

FILES = ("manifest.json", "proposals.bin", "index.npy")


def writer(folder, digest="d", **changes):
    settings = {"proposer_name": "boxes", "proposer_settings": {"sides": [8, 16]}, "points_digest": digest}
    return StoreWriter(folder, **{**settings, **changes})


def make(folder, ids, digest="d"):
    with writer(folder, digest) as out:
        for image_id in ids:
            out.append(random_proposals(image_id))
        return out.finish()


def content(folder):
    return [(folder / name).read_bytes() for name in FILES]


def test_what_goes_in_comes_out(tmp_path):
    store = make(tmp_path / "s", [3, 1, 2])
    assert store.image_ids.tolist() == [1, 2, 3]
    assert len(store) == 3
    assert 2 in store
    assert 4 not in store
    for image_id in (1, 2, 3):
        assert same_proposals(store.of_image(image_id), random_proposals(image_id))
    assert [item.image_id for item in store] == [1, 2, 3]


def test_opinions_of_a_second_proposer_come_out_too_and_their_absence_as_none(tmp_path):
    plain, asked = random_proposals(1), random_proposals(2)
    asked = replace(asked, opinions=np.linspace(0, 1, asked.num_proposals, dtype=np.float32))
    with writer(tmp_path / "s") as out:
        out.append(plain)
        out.append(asked)
        store = out.finish()
    assert store.of_image(1).opinions is None
    np.testing.assert_array_equal(store.of_image(2).opinions, asked.opinions)
    assert same_proposals(store.of_image(2), asked)


def test_stores_of_the_first_format_are_read(tmp_path):
    make(tmp_path / "s", [1])
    path = tmp_path / "s" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["format_version"] == 2
    path.write_text(json.dumps(manifest | {"format_version": 1}))
    assert same_proposals(ProposalStore.open(tmp_path / "s").of_image(1), random_proposals(1))


def test_a_finished_store_has_no_other_files(tmp_path):
    make(tmp_path / "s", [1])
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == sorted(FILES)


def test_the_order_of_images_does_not_change_the_bytes(tmp_path):
    make(tmp_path / "a", [1, 2, 3, 4])
    make(tmp_path / "b", [4, 2, 1, 3])
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_an_image_without_clicks_and_a_bag_without_proposals_are_kept(tmp_path):
    empty, bare = random_proposals(1, clicks=0), random_proposals(2, clicks=3, most=0)
    with writer(tmp_path / "s") as out:
        out.append(empty)
        out.append(bare)
        store = out.finish()
    assert same_proposals(store.of_image(1), empty)
    assert same_proposals(store.of_image(2), bare)
    assert store.of_image(2).of_prompt(1) == slice(0, 0)


def test_a_store_without_images_can_be_finished(tmp_path):
    assert len(make(tmp_path / "s", [])) == 0


def test_an_interrupted_run_continues_to_the_same_bytes(tmp_path):
    make(tmp_path / "whole", [1, 2, 3])
    with writer(tmp_path / "s") as out:
        out.append(random_proposals(2))
    with writer(tmp_path / "s") as out:
        assert out.done == {2}
    make(tmp_path / "s", [2, 3, 1])
    assert content(tmp_path / "whole") == content(tmp_path / "s")


@pytest.mark.parametrize("damage", ["cut", "zeros", "flip", "head"])
def test_a_torn_tail_is_cut_off_and_done_again(tmp_path, damage):
    make(tmp_path / "whole", [1, 2, 3])
    with writer(tmp_path / "s") as out:
        for image_id in (1, 2):
            out.append(random_proposals(image_id))
    journal = tmp_path / "s" / "journal-new.bin"
    data = bytearray(journal.read_bytes())
    if damage == "cut":
        del data[-7:]
    elif damage == "flip":
        data[-3] ^= 1
    else:
        data += bytes(500) if damage == "zeros" else data[:10]
    journal.write_bytes(data)
    with writer(tmp_path / "s") as out:
        assert out.done == ({1, 2} if damage in ("zeros", "head") else {1})
    make(tmp_path / "s", [1, 2, 3])
    assert content(tmp_path / "whole") == content(tmp_path / "s")


def test_a_full_disk_keeps_what_was_appended_and_says_so(tmp_path, monkeypatch):
    make(tmp_path / "whole", [1, 2])

    def half_written(file, data):
        file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    out = writer(tmp_path / "s")
    out.append(random_proposals(1))
    with monkeypatch.context() as patch:
        patch.setattr(store_writer, "write_all", half_written)
        with pytest.raises(JobError, match=r"image 2.*No space left.*1 images are kept.*same command"):
            out.append(random_proposals(2))
    out.append(random_proposals(2))
    out.finish()
    assert content(tmp_path / "whole") == content(tmp_path / "s")


@pytest.mark.parametrize(
    "step", ["copy_records", "write_bytes_atomic", "write_json_atomic", "_remove_leftovers"]
)
def test_finishing_can_be_repeated_wherever_it_broke(tmp_path, monkeypatch, step):
    make(tmp_path / "whole", [1, 2])
    out = writer(tmp_path / "s")
    for image_id in (2, 1):
        out.append(random_proposals(image_id))

    def broken(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store_writer.records if step == "copy_records" else store_writer, step, broken)
        with pytest.raises((JobError, OSError)):
            out.finish()
    out.close()
    with writer(tmp_path / "s") as again:
        assert again.done == {1, 2}
        again.finish()
    assert content(tmp_path / "whole") == content(tmp_path / "s")


def test_an_unfinished_store_is_refused_with_the_reason(tmp_path):
    with writer(tmp_path / "s") as out:
        out.append(random_proposals(5))
    with pytest.raises(StoreError, match=r"unfinished \(1 images are done\).*same `sapnet propose`"):
        ProposalStore.open(tmp_path / "s")
    store = ProposalStore.open(tmp_path / "s", allow_unfinished=True)
    assert same_proposals(store.of_image(5), random_proposals(5))


def test_a_missing_folder_and_a_folder_of_something_else_are_told_apart(tmp_path):
    with pytest.raises(StoreError, match="no such folder"):
        ProposalStore.open(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"no manifest\.json"):
        ProposalStore.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{]")
    with pytest.raises(StoreError, match="JSON"):
        ProposalStore.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "other"}')
    with pytest.raises(StoreError, match="'other'"):
        ProposalStore.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "sapnet-proposals", "format_version": 9}')
    with pytest.raises(StoreError, match="version is 9"):
        ProposalStore.open(tmp_path)


def test_writing_into_a_folder_of_something_else_is_refused_and_leaves_no_trace(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(StoreError, match="not empty"):
        writer(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]
    with pytest.raises(StoreError, match="file"):
        writer(tmp_path / "photo.jpg")


def test_a_folder_left_by_a_run_killed_at_its_start_is_used(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / ".manifest.json.1234.tmp").write_bytes(b"{")
    assert len(make(tmp_path / "s", [1])) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"proposer_name": "other"}, "proposer"),
        ({"proposer_settings": {"sides": [8]}}, "proposer's setting sides"),
        ({"digest": "e"}, "points digest"),
        ({"checkpoint_digest": "c"}, "checkpoint digest"),
    ],
)
def test_continuing_with_another_origin_is_refused(tmp_path, change, message):
    writer(tmp_path / "s").close()
    with pytest.raises(StoreError, match=f"Its {message} is"):
        writer(tmp_path / "s", **change)


def test_two_writers_of_one_folder_are_refused(tmp_path):
    with writer(tmp_path / "s"), pytest.raises(StoreError, match="Another process"):
        writer(tmp_path / "s")


def test_a_finished_store_is_left_alone(tmp_path):
    make(tmp_path / "s", [1])
    before = content(tmp_path / "s")
    with writer(tmp_path / "s") as out:
        assert out.finished
        assert out.done == {1}
        assert len(out.finish()) == 1
    assert content(tmp_path / "s") == before


def test_skipped_images_are_listed_and_tried_again(tmp_path):
    make(tmp_path / "whole", [1, 2])
    with writer(tmp_path / "s") as out:
        out.append(random_proposals(1))
        store = out.finish([{"image_id": 2, "file_name": "2.png", "reason": "the file is empty"}])
    assert store.skipped == {2: "the file is empty"}
    assert store.manifest["counts"]["skipped_images"] == 1
    with pytest.raises(StoreError, match="skipped: the file is empty"):
        store.of_image(2)
    with writer(tmp_path / "s") as out:
        assert not out.finished
        assert out.done == {1}
        out.append(random_proposals(2))
        out.finish()
    assert content(tmp_path / "whole") == content(tmp_path / "s")


def test_a_store_of_other_points_is_refused_with_what_differs(tmp_path):
    points = small_points(num_images=4)
    make(tmp_path / "s", points.images.ids.tolist(), digest=points.digest)
    assert len(ProposalStore.open(tmp_path / "s", points)) == 4
    with pytest.raises(StoreError, match=r"1 images of the points are not in the store: 50"):
        ProposalStore.open(tmp_path / "s", small_points(num_images=5))
    with pytest.raises(StoreError, match=r"1 images of the store are not in the points: 40"):
        ProposalStore.open(tmp_path / "s", small_points(num_images=3))
    with pytest.raises(StoreError, match="another number of clicks"):
        ProposalStore.open(tmp_path / "s", small_points(num_images=4, clicks=3))


def test_moved_points_are_explained(tmp_path):
    points = small_points(num_images=1)
    with writer(tmp_path / "s", points.digest) as out:
        out.append(random_proposals(10, clicks=0))
        out.finish()
    moved = small_points(num_images=1)
    moved.__dict__["digest"] = "other"
    with pytest.raises(StoreError, match="positions or classes of clicks differ"):
        ProposalStore.open(tmp_path / "s", moved)


@pytest.mark.parametrize("name", ["proposals.bin", "index.npy"])
def test_damaged_and_missing_files_are_named(tmp_path, name):
    make(tmp_path / "s", [1])
    path = tmp_path / "s" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match=name):
        ProposalStore.open(tmp_path / "s")
    path.unlink()
    with pytest.raises(StoreError, match=f"{name} is missing"):
        ProposalStore.open(tmp_path / "s")


def test_a_damaged_record_is_named_and_the_others_still_read(tmp_path):
    store = make(tmp_path / "s", [1, 2])
    path = tmp_path / "s" / "proposals.bin"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"image 2 in proposals\.bin.*checksum"):
        store.of_image(2)
    assert same_proposals(store.of_image(1), random_proposals(1))


def test_an_open_store_can_be_sent_to_another_process(tmp_path):
    store = pickle.loads(pickle.dumps(make(tmp_path / "s", [1])))
    assert same_proposals(store.of_image(1), random_proposals(1))


def large_store(folder, num_images=118_000, record_bytes=12_000):
    """A store of COCO's size whose data file is a hole but for the last image's record."""
    folder.mkdir()
    record = encode_record(random_proposals(num_images))
    index = np.zeros(num_images, dtype=INDEX_DTYPE)
    index["image_id"] = np.arange(1, num_images + 1)
    index["offset"] = np.arange(num_images) * record_bytes
    index["length"] = len(record)
    index["proposals"] = 43
    np.save(folder / "index.npy", index)
    size = num_images * record_bytes
    with (folder / "proposals.bin").open("wb") as file:
        file.seek(int(index["offset"][-1]))
        file.write(record)
        file.truncate(size)
    manifest = {
        "format": store_module.FORMAT,
        "format_version": store_module.FORMAT_VERSION,
        "points_digest": "d",
        "finished": True,
        "skipped": [],
        "data_bytes": size,
        "index_crc32": zlib.crc32((folder / "index.npy").read_bytes()),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return size


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory figures from /proc")
def test_a_store_of_cocos_size_opens_in_bounded_time_and_memory(tmp_path, run_python):
    size = large_store(tmp_path / "s")
    script = """
import sys, time
from sapnet.proposals.store import ProposalStore
from pathlib import Path
# Not ru_maxrss: it starts at the size of the process that started this one.
status = lambda: Path("/proc/self/status").read_text().splitlines()
peak = lambda: next(int(line.split()[1]) for line in status() if line.startswith("VmHWM"))
before, start = peak(), time.process_time()
store = ProposalStore.open(sys.argv[1])
store.of_image(118_000)
print(len(store), peak() - before, peak(), time.process_time() - start)
"""
    done = run_python("-c", script, tmp_path / "s")
    assert done.returncode == 0, done.stderr
    images, growth, peak, seconds = map(float, done.stdout.split())
    assert images == 118_000
    assert growth * 1024 < size / 20
    assert peak < 300 * 1024
    assert seconds < 5
    assert (tmp_path / "s" / "index.npy").stat().st_size <= 40 * images


def test_an_image_is_read_without_reading_the_others(tmp_path):
    store = make(tmp_path / "s", range(1, 40))
    path = tmp_path / "s" / "proposals.bin"
    whole = path.read_bytes()
    entry = store._index[20]
    start, stop = int(entry["offset"]), int(entry["offset"] + entry["length"])
    path.write_bytes(bytes(start) + whole[start:stop] + bytes(len(whole) - stop))
    assert same_proposals(store.of_image(21), random_proposals(21))


def test_every_setting_of_another_origin_is_named_and_a_second_opinion_by_who_gave_it(tmp_path):
    asked = {"name": "builtin", "settings": {"size": 640, "kinds": ["point"]}, "checkpoint": "c"}
    writer(tmp_path / "s", proposer_settings={"sides": [8], "iou": 0.9, "second_opinion": asked}).close()
    with pytest.raises(StoreError) as refusal:
        writer(tmp_path / "s", proposer_settings={"sides": [8], "iou": 0.8, "seed": 1}, checkpoint_digest="d")
    assert list(refusal.value.problems[:-1]) == [
        "Its proposer's setting iou is 0.9, this run's is 0.8.",
        "Its proposer's setting second_opinion is builtin, this run's is not set.",
        "Its proposer's setting seed is not set, this run's is 1.",
        'Its checkpoint digest is null, this run\'s is "d".',
    ]
    other = {**asked, "settings": {"size": 320, "kinds": ["point"]}}
    with pytest.raises(StoreError, match=r"setting second_opinion\.settings\.size is 640, this run's is 320"):
        writer(tmp_path / "s", proposer_settings={"sides": [8], "iou": 0.9, "second_opinion": other})
