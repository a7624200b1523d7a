"""What a call may change in the caller's process, and gives back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sapnet.api.arguments import say_it_in_python
from sapnet.errors import SapnetError


@contextmanager
def in_python_words() -> Iterator[None]:
    """Let errors pass with their advice in terms of Python arguments, not of the command line."""
    try:
        yield
    except SapnetError as error:
        say_it_in_python(error)
        raise


@contextmanager
def one_job() -> Iterator[None]:
    """Run a job inside somebody else's process: a notebook, a server, a training script.

    Given back at the end, also after an error or an interruption: the number of torch's threads, the
    state of torch's random generators, and the caller's own accelerate session. The handler of
    Ctrl-C is the business of ``engine.interrupts``, which touches it in the main thread only.

    Raises:
        SapnetError: As raised inside, with its advice in terms of Python arguments.
    """
    import torch
    from accelerate.state import AcceleratorState, GradientState, PartialState

    shared = (PartialState._shared_state, AcceleratorState._shared_state, GradientState._shared_state)
    before = [dict(state) for state in shared]
    threads, generator = torch.get_num_threads(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        with in_python_words():
            yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_rng_state(generator)
        if devices:
            torch.cuda.set_rng_state_all(devices)
        if not torch.distributed.is_initialized():  # launched processes stay joined
            for state, content in zip(shared, before, strict=True):
                state.clear()
                state.update(content)
