"""`sapnet propose`, killed (`kill -9`) at any moment, in one or two processes, resumes to the same bytes."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import PartialState

from killing import die
from sapnet.cli.main import main
from sapnet.data import atomic
from sapnet.pipeline import proposing
from sapnet.proposals import generate, proposer, shared, store, store_records, store_writer, workers
from training_builders import write_tiny_data

FILES = ("index.npy", "manifest.json", "proposals.bin")
WATCHED = {
    module.__file__
    for module in (
        *(atomic, generate, proposer, proposing, shared, store, store_records, store_writer, workers),
    )
}
SETTINGS = (
    *("data.num_workers=0", "proposals.regions.grabcut=false", "device=cpu"),
    "proposals.second_opinion=none",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_tiny_data(tmp_path_factory.mktemp("tiny"), num_images=8)


def words(data, out, *more, proposer="regions"):
    given = ["--points", data.points, "--images", data.images, "--out", out, "--quiet"]
    return ["propose", *map(str, given), "--proposer", proposer, *SETTINGS, *more]


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "store"
    assert main(words(data, out)) == 0
    return content(out)


def content(out):
    """The names and bytes of everything that the folder holds, hidden files and all."""
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def start(function):
    """Start a function in a forked process, which is the command line without the cost of its imports."""
    process = os.fork()
    if process == 0:
        try:
            os._exit(function())
        finally:
            os._exit(99)
    return process


def end_of(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


class LineClock:
    """Counts the lines that a process runs in the modules that write stores, and kills it at one of them."""

    def __init__(self, kill_at=-1):
        self.count, self.kill_at = 0, kill_at

    def __enter__(self):
        sys.settrace(self.entered)
        return self

    def __exit__(self, *_exception):
        sys.settrace(None)

    def entered(self, frame, _event, _argument):
        return self.line if frame.f_code.co_filename in WATCHED else None

    def line(self, _frame, event, _argument):
        if event == "line":
            if self.count == self.kill_at:
                die()
            self.count += 1
        return self.line


@pytest.fixture(scope="module")
def lines(data, undisturbed, tmp_path_factory):
    """How many lines an undisturbed run takes."""
    out = tmp_path_factory.mktemp("counted") / "store"
    with LineClock() as clock:
        assert main(words(data, out)) == 0
    assert content(out) == undisturbed
    return clock.count


def moments(lines, number=10, seed=3):
    """Random moments, one in every tenth of a run."""
    edges = np.linspace(0, lines, number + 1).astype(int)
    random = np.random.default_rng(seed)
    return [int(random.integers(low, high)) for low, high in itertools.pairwise(edges)]


def killed_at(moment, arguments):
    def run():
        with LineClock(moment):
            return main(arguments)

    return end_of(start(run))


@pytest.mark.parametrize("number", range(10))
def test_killed_at_a_random_moment_it_resumes_to_the_same_bytes(data, undisturbed, lines, tmp_path, number):
    out = tmp_path / "store"
    assert killed_at(moments(lines)[number], words(data, out)) == -signal.SIGKILL
    assert main(words(data, out)) == 0
    assert content(out) == undisturbed


def test_killed_again_and_again_it_ends_with_the_same_bytes(data, undisturbed, lines, tmp_path):
    out = tmp_path / "store"
    codes = [
        killed_at(moment, words(data, out)) for moment in np.random.default_rng(0).permutation(moments(lines))
    ]
    assert codes.count(-signal.SIGKILL) >= 3
    assert main(words(data, out)) == 0
    assert content(out) == undisturbed


def half_of(write):
    """A stand-in that writes the first half of the bytes and dies."""

    def half(file, record):
        write(file, record[: len(record) // 2])
        die()

    return half


def half_a_file(path, data):
    path.with_name(f".{path.name}.0123.tmp").write_bytes(data[: len(data) // 2])
    die()


def half_the_data(sources, places, target, copy=store_records.copy_records):
    places = list(places)
    copy(sources, places[: len(places) // 2], target)
    with target.open("ab") as file:
        file.write(b"SAPr")
    die()


def on_call(number, module, name, stand_in):
    """Put a stand-in in the place of a function from its call of that 0-based number on."""
    original, calls = getattr(module, name), iter(range(10**6))

    def counted(*arguments, **settings):
        return (stand_in if next(calls) >= number else original)(*arguments, **settings)

    setattr(module, name, counted)


PLACES = {
    "within the first record": lambda: on_call(0, store_writer, "write_all", half_of(store_writer.write_all)),
    "within the fifth record": lambda: on_call(4, store_writer, "write_all", half_of(store_writer.write_all)),
    "within the first manifest": lambda: on_call(0, atomic, "write_bytes_atomic", half_a_file),
    "within the last manifest": lambda: on_call(1, atomic, "write_bytes_atomic", half_a_file),
    "within the data file": lambda: on_call(0, store_records, "copy_records", half_the_data),
    "within the index": lambda: on_call(0, store_writer, "write_bytes_atomic", half_a_file),
    "before leftovers are removed": lambda: on_call(0, store_writer, "_remove_leftovers", die),
}


@pytest.mark.parametrize("place", PLACES)
def test_killed_within_a_file_it_resumes_to_the_same_bytes(data, undisturbed, tmp_path, place):
    out = tmp_path / "store"

    def run():
        PLACES[place]()
        return main(words(data, out))

    assert end_of(start(run)) == -signal.SIGKILL
    assert main(words(data, out)) == 0
    assert content(out) == undisturbed


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def together(data, out, *, victim=None, kill_at=-1, proposer="regions"):
    """Run the command line as two launched processes; return their exit codes.

    ``victim`` is the process that dies at the line ``kill_at``; the other is killed as soon as it is
    dead, as by a launcher. The lines that each process took are left beside the store.
    """
    port = free_port()

    def rank(number):
        launched = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
        launched |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({key: str(value) for key, value in launched.items()})
        PartialState._reset_state()
        with LineClock(kill_at if number == victim else -1) as clock:
            code = main(words(data, out, proposer=proposer))
        (out.parent / f"lines-{number}").write_text(str(clock.count))
        return code

    out.parent.mkdir(exist_ok=True)
    processes = [start(lambda number=number: rank(number)) for number in (0, 1)]
    if victim is None:
        return [end_of(process) for process in processes]
    code = end_of(processes[victim])
    os.kill(processes[1 - victim], signal.SIGKILL)
    end_of(processes[1 - victim])
    return code


@pytest.fixture(scope="module")
def shared_lines(data, undisturbed, tmp_path_factory):
    """How many lines each of two undisturbed processes takes."""
    out = tmp_path_factory.mktemp("together") / "store"
    assert together(data, out) == [0, 0]
    assert content(out) == undisturbed
    return [int((out.parent / f"lines-{number}").read_text()) for number in (0, 1)]


@pytest.mark.parametrize("later", [1, 2])
@pytest.mark.parametrize(("victim", "share"), [(0, 0.1), (0, 0.5), (0, 0.9), (1, 0.2), (1, 0.7)])
def test_two_processes_killed_are_resumed_by_one_or_two(
    data, undisturbed, shared_lines, tmp_path, later, victim, share
):
    out = tmp_path / "store"
    kill_at = int(share * shared_lines[victim])
    assert together(data, out, victim=victim, kill_at=kill_at) == -signal.SIGKILL
    assert (main(words(data, out)) if later == 1 else together(data, out)) in (0, [0, 0])
    assert content(out) == undisturbed


def test_two_processes_and_any_number_of_threads_write_the_same_store_with_the_built_in_proposer(tmp_path):
    small = write_tiny_data(tmp_path / "data", num_images=2)
    assert together(small, tmp_path / "two" / "store", proposer="builtin") == [0, 0]
    for threads in (1, 2):
        out = tmp_path / f"{threads}-threads"
        torch.set_num_threads(threads)
        try:
            assert main(words(small, out, proposer="builtin")) == 0
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(1)
        assert content(out) == content(tmp_path / "two" / "store")


SLOW = """
import os, sys, time
from sapnet.cli.main import main
from sapnet.proposals.regions import RegionProposer

propose = RegionProposer.propose

def slowly(self, image, prompts):
    time.sleep(0.3)
    return propose(self, image, prompts)

RegionProposer.propose = slowly  # here, so that worker processes do it too
if __name__ == "__main__":
    open(f"{sys.argv[1]}/pid-{os.environ.get('RANK')}", "w").write(str(os.getpid()))
    sys.exit(main(sys.argv[2:]))
"""


def environment(repo_root):
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**os.environ, **threads, "PYTHONPATH": str(repo_root / "src")}


def wait_for(condition, seconds=150):
    until = time.monotonic() + seconds
    while time.monotonic() < until and not condition():
        time.sleep(0.01)
    assert condition()


def test_a_launched_process_that_is_killed_stops_the_others_and_loses_nothing(
    data, undisturbed, tmp_path, repo_root
):
    out = tmp_path / "store"
    (tmp_path / "script.py").write_text(SLOW)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    launched = subprocess.Popen(
        [*launcher, tmp_path / "script.py", tmp_path, *words(data, out)],
        env=environment(repo_root),
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: any(path.stat().st_size for path in out.glob(".share-1/journal-*.bin")))
    os.kill(int((tmp_path / "pid-1").read_text()), signal.SIGKILL)
    launched.communicate(timeout=150)
    assert launched.returncode != 0
    begun = store.ProposalStore.open(out, allow_unfinished=True)
    assert not begun.manifest["finished"]
    assert main(words(data, out)) == 0
    assert content(out) == undisturbed


def is_running(process):
    """Whether a process that is not our child runs (one that is dead but not waited for does not)."""
    with contextlib.suppress(OSError):
        return b") Z" not in Path(f"/proc/{process}/stat").read_bytes()
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="looks at processes as Linux shows them")
def test_killed_with_workers_it_leaves_no_process_behind(data, undisturbed, tmp_path, repo_root):
    out = tmp_path / "store"
    (tmp_path / "script.py").write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "script.py", tmp_path, *words(data, out, "data.num_workers=1")],
        env=environment(repo_root),
    )
    wait_for(lambda: any(path.stat().st_size for path in out.glob("journal-*.bin")))
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
    )
    children = [int(number) for number in listed.stdout.split()]
    assert len(children) >= 2
    process.kill()
    process.wait()
    wait_for(lambda: not any(map(is_running, children)), seconds=30)
    assert main(words(data, out)) == 0
    assert content(out) == undisturbed
