"""Progress lines: what they say, how often, and that they never stop the work."""

import io

import pytest

from sapnet.progress import Progress, duration


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    return Clock()


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3725, "1:02:05"), (-3, "0:00")])
def test_durations_are_minutes_and_seconds(seconds, text):
    assert duration(seconds) == text


def test_a_line_shows_position_rate_time_left_and_note(clock):
    stream = io.StringIO()
    with Progress(10, "train", stream=stream, clock=clock) as progress:
        clock.now += 8
        progress.advance(4, note="loss 1.25")
    assert stream.getvalue().splitlines() == [
        "train  4/10 (40 %)  0.5/s  ETA 0:12  loss 1.25",
        "train  4/10 (40 %)  done after 0:08",
    ]


def test_lines_come_at_most_every_few_seconds(clock):
    stream = io.StringIO()
    with Progress(100, "propose", stream=stream, clock=clock) as progress:
        for _ in range(100):
            clock.now += 0.125
            progress.advance()
    assert len(stream.getvalue().splitlines()) == 3  # two within 12.5 seconds, one at the end


def test_units_of_an_earlier_run_do_not_count_for_the_rate(clock):
    with Progress(100, "propose", done=50, stream=io.StringIO(), clock=clock) as progress:
        clock.now += 10
        progress.advance(10)
        assert progress.rate == 1.0
        assert progress.done == 60


def test_quiet_prints_nothing(clock):
    stream = io.StringIO()
    with Progress(2, "x", quiet=True, stream=stream, clock=clock) as progress:
        clock.now += 100
        progress.advance()
        progress.message("skipped a.jpg")
    assert stream.getvalue() == ""


def test_side_processes_print_nothing(clock, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    stream = io.StringIO()
    with Progress(1, "x", stream=stream, clock=clock) as progress:
        progress.advance()
    assert stream.getvalue() == ""


def test_nothing_to_do_is_fine(clock):
    stream = io.StringIO()
    with Progress(0, "label", stream=stream, clock=clock):
        pass
    assert stream.getvalue() == "label  0/0  done after 0:00\n"


def test_an_error_in_the_loop_passes_and_says_where_it_stopped(clock):
    stream = io.StringIO()
    with pytest.raises(KeyError), Progress(3, "x", stream=stream, clock=clock) as progress:
        progress.advance()
        raise KeyError
    assert stream.getvalue() == "x  1/3 (33 %)  stopped after 0:00\n"


def test_a_closed_stream_does_not_stop_the_work(clock):
    stream = io.StringIO()
    with Progress(3, "x", stream=stream, clock=clock) as progress:
        stream.close()
        clock.now += 60
        progress.advance()
        progress.message("still here")
    assert progress.done == 1


def test_a_terminal_gets_a_bar_with_its_messages(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Progress(2, "propose", stream=stream) as progress:
        progress.message("skipped [a].jpg")
        progress.advance(2, note="b.jpg")
    for text in ("propose", "2/2", "skipped [a].jpg"):
        assert text in stream.getvalue()
