"""Work shared between threads, for compiled code that lets other threads run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import torch

# Numbers that are not worth another thread: waking one takes as long as some ten thousands of them.
_WORTH_A_THREAD = 1 << 17
_PARTS = 4  # for each thread: whoever is done early takes the next one


class _Pool:
    """Threads that wait for work; made on first use, and anew in a process that was forked."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._size = 0
        self.threads = 0  # inside of `for_kernels`, how many there are

    def executor(self, size: int) -> ThreadPoolExecutor:
        """One with at least so many threads."""
        if self._executor is None or self._size < size:
            self._executor, self._size = ThreadPoolExecutor(size, thread_name_prefix="gfopt-kernel"), size
        return self._executor

    def forget(self) -> None:
        """A child has its parent's memory, but none of its threads."""
        self._executor = None


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)


@contextmanager
def for_kernels() -> Iterator[None]:
    """Inside, all threads are for `in_threads`, and torch's own operations take one.

    After an operation in threads, torch's wait for the next one in a busy loop, for some milliseconds: longer than many
    a kernel runs, on the very cores that it would have.
    """
    before, _pool.threads = _pool.threads, _pool.threads or torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(_pool.threads)
        _pool.threads = before


def in_threads(count: int, size: int, work: Callable[[int, int], object]) -> None:
    """Call `work(begin, end)` for parts of `range(count)`, on at most as many threads as torch uses.

    How the parts fall must change nothing but the time.

    Args:
        count: pieces of work.
        size: numbers that a piece makes; few numbers stay in the calling thread.
        work: compiled code that holds no lock.
    """
    threads = min(_pool.threads or torch.get_num_threads(), count, max(1, count * size // _WORTH_A_THREAD))
    if threads <= 1:
        work(0, count)
        return
    parts = min(count, threads * _PARTS)
    ends = [count * i // parts for i in range(parts + 1)]
    waiting = [_pool.executor(threads - 1).submit(work, begin, end) for begin, end in pairwise(ends)]
    for i, future in enumerate(waiting):
        if future.cancel():  # nobody has begun it, so this thread does
            work(ends[i], ends[i + 1])
    for future in waiting:
        if not future.cancelled():
            future.result()
