"""Threads: one within each operation, more beside each other; results do not change.

Operations that share their sums between threads would give other sums on a machine with more
cores, and small products of matrices are slower so. Instead forward runs of a network are shared
between threads, each with a copy of it: torch and numpy let other threads run while they compute.
"""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits
from torch import nn

from quant.device import device_of

MOST_THREADS = 4

Module = TypeVar("Module", bound=nn.Module)
Part = TypeVar("Part")
Result = TypeVar("Result")


def one_thread() -> None:
    """Give operations of torch, and products of numpy and scipy, one thread each from here on."""
    import scipy.linalg  # noqa: F401  with a library of its own, which is limited if it is there

    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")


def threads_for(module: nn.Module) -> int:
    """How many threads a network's forward runs are worth.

    One on an accelerator, and where forward hooks would still write to the network that was copied.
    """
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    alone = hooked or device_of(module).type != "cpu"
    return 1 if alone else worth(MOST_THREADS)


def worth(parts: int) -> int:
    """How many threads a number of independent parts is worth."""
    return max(1, min(MOST_THREADS, cores(), parts))


def cores() -> int:
    """Processors that this process may run on."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def in_threads(
    work: Callable[[Module, Part], Result], module: Module, parts: Sequence[Part]
) -> list[Result]:
    """Call `work` with a copy of the network and each part, in threads; the results in order.

    A single part takes the network itself, in this thread; so do all, one after the other, where
    the network cannot be copied, as one of another library that holds a session.
    """
    copies = _copies(module, len(parts)) if len(parts) > 1 else []
    if not copies:
        return [work(module, part) for part in parts]
    with pool_of(len(parts)) as pool, _stopping(copies):
        return list(pool.map(work, copies, parts))


def pool_of(threads: int) -> ThreadPoolExecutor:
    """Return threads whose operations in torch take as many threads as in this one."""
    inner = torch.get_num_threads()  # a new thread would have as many as there are cores
    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(inner,))


@contextmanager
def _stopping(copies: Sequence[nn.Module]) -> Iterator[None]:
    """Let Ctrl-C end the threads at their next operation, not when all is done."""
    over = threading.Event()

    def check(*_: object) -> None:
        if over.is_set():
            raise RuntimeError("the main thread was interrupted")

    for copied in copies:
        for module in copied.modules():
            module.register_forward_pre_hook(check)
    try:
        yield
    except BaseException:
        over.set()
        raise


def _copies(module: Module, count: int) -> list[Module]:
    try:
        return [copy.deepcopy(module) for _ in range(count)]
    except (TypeError, RuntimeError, pickle.PicklingError):
        return []
