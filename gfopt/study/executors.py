"""`LocalExecutor`: every task in a process of its own, so that a run that dies takes nothing else with it.

Neither a pool nor `multiprocessing`: in a pool the death of one worker fails every pending task, and both
import the user's main module again in each worker, which starts a script without a `__main__` guard over and
over. Here a task travels as bytes (`cloudpickle`, so lambdas and notebook cells do too) to a process that
knows nothing of the main module. On Linux a server process that has torch imported forks the workers, which
saves seconds for each.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import ParamSpec, TypeVar, cast

import cloudpickle

from gfopt.errors import ConfigError, GfoptError, expectation
from gfopt.study.processes import ForkServer, Fresh, Process
from gfopt.study.worker import Reply, Task

P = ParamSpec("P")
T = TypeVar("T")

PRELOAD = (
    "torch", "numpy", "pandas", "pyarrow.parquet", "safetensors.numpy", "yaml", "gfopt.engine.fused.evaluator:ready",
)  # fmt: skip


class RunKilled(GfoptError, RuntimeError):
    """The process of a task ended before it answered.

    Attributes:
        exit_code: as `subprocess` reports it, `-9` for SIGKILL; `None` if it is not known.
    """

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class RunTimeout(RunKilled):
    """A task was ended because its time was up."""


class TaskError(RuntimeError):
    """Stands for an exception of a task that cannot be pickled, with its text."""


class LocalExecutor(ThreadPoolExecutor):
    """Runs each task in a new process, `workers` at a time; each slot is a thread that waits for its process.

    Leaving a `with` block through an exception, `shutdown(cancel_futures=True)` and `kill` end running
    processes; so does the death of this process, however it dies.

    Args:
        workers: slots, at least 1.
        timeout: wall-clock seconds after which a task is ended with `RunTimeout`; `None` is no limit.
        preload: modules that the fork server imports once, and functions of them that it calls, as `module:name`.
        fork: fork from the server; without it each task starts a fresh interpreter. By default on Linux only:
            what macOS' own libraries do at import does not survive a fork.
    """

    def __init__(
        self,
        workers: int,
        *,
        timeout: float | None = None,
        preload: Sequence[str] = PRELOAD,
        fork: bool = sys.platform == "linux",
    ) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ConfigError("workers: " + expectation("a whole number of at least 1", workers))
        if timeout is not None and not timeout > 0:
            raise ConfigError("timeout: " + expectation("a positive number of seconds", timeout))
        super().__init__(workers, thread_name_prefix="gfopt-slot")
        self._timeout = timeout
        self._server = ForkServer(preload) if fork else None
        self._lock = threading.Lock()
        self._running: set[Process] = set()
        self._unfinished = 0
        self._closed = self._killed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """The future of `fn(*args, **kwargs)`, computed in a process of its own.

        The future raises what `fn` raised, `TaskError` if that cannot be pickled, `RunKilled` if the process
        died.
        """
        with self._lock:
            self._unfinished += 1
        try:
            future: Future[T] = super().submit(self._run, fn, args, kwargs)
        except RuntimeError:  # shut down
            self._forget()
            raise
        future.add_done_callback(self._forget)
        return future

    def kill(self) -> None:
        """Cancel what is pending and end what is running; its futures raise `RunKilled`."""
        with self._lock:
            self._killed = True
            running = list(self._running)
        super().shutdown(wait=False, cancel_futures=True)
        for process in running:
            process.kill()
        if self._server is not None:
            self._server.interrupt_start()
        self._close()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks.

        Args:
            wait: return only when all that is left has ended.
            cancel_futures: end running tasks too, unlike in other executors.
        """
        if cancel_futures:
            self.kill()
        try:
            super().shutdown(wait=wait)
        except KeyboardInterrupt:
            self.kill()
            raise
        self._close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown(cancel_futures=kind is not None)

    def _run(self, fn: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]) -> T:
        if self._killed:
            raise RunKilled(_obituary(None, True))
        folder = None
        with suppress(FileNotFoundError):  # the working folder may have been removed
            folder = os.getcwd()
        call = cloudpickle.dumps((fn, args, kwargs))
        message = pickle.dumps(tuple(Task(call, dict(os.environ), list(sys.path), folder)))
        with self._process() as process:
            there = process.ready()  # what starting takes is not the task's time
            with _deadline(process, self._timeout) as late:
                data = process.exchange(message) if there else None
            code = process.exit_code() if data is None else None
        if data is not None:
            return cast(T, _result(Reply(*pickle.loads(data))))
        if late.is_set():
            fix = "Give it more time or a smaller budget"
            raise RunTimeout(expectation(f"an end within {self._timeout:g} s", "`none`", fix), code)
        raise RunKilled(_obituary(code, self._killed), code)

    @contextmanager
    def _process(self) -> Iterator[Process]:
        process = self._server.fork() if self._server is not None else Fresh()
        try:
            with self._lock:
                self._running.add(process)
                killed = self._killed
            if killed:
                process.kill()
            yield process
        finally:
            with self._lock:
                self._running.discard(process)
            process.close()

    def _forget(self, _: Future[T] | None = None) -> None:
        with self._lock:
            self._unfinished -= 1
            last = self._closed and self._unfinished == 0
        if last and self._server is not None:
            self._server.close()

    def _close(self) -> None:
        """End the server once the last task has ended."""
        with self._lock:
            self._closed = True
            idle = self._unfinished == 0
        if idle and self._server is not None:
            self._server.close()


@contextmanager
def thread_limit(threads: int) -> Iterator[None]:
    """Torch and the numeric libraries use `threads` threads inside, whatever the environment says.

    Afterwards they use as many as before.

    Args:
        threads: at least 1.

    Raises:
        ConfigError: if it is not.
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ConfigError("threads: " + expectation("a whole number of at least 1", threads))
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

    before = torch.get_num_threads()
    with threadpool_limits(threads):  # numpy's and scipy's BLAS, scikit-learn's OpenMP
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def _deadline(process: Process, seconds: float | None) -> Iterator[threading.Event]:
    """The process is killed after so many seconds inside, and the event is set."""
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, end) if seconds is not None else None
    if timer is not None:
        timer.start()
    try:
        yield late
    finally:
        if timer is not None:
            timer.cancel()


def _result(reply: Reply) -> object:
    """The task's result, or its exception raised."""
    try:
        value = pickle.loads(reply.value) if reply.value is not None else None
    except Exception as error:  # whatever the value's own methods raise
        if reply.ok:
            raise TaskError(f"the result cannot be unpickled here: {error}") from error
        value = None
    if reply.ok:
        return value
    # Not every BaseException: a SystemExit would end this process instead of the task.
    failure = value if isinstance(value, Exception) else TaskError(reply.text)
    failure.add_note(f"In the worker process:\n{reply.trace}")
    raise failure


def _obituary(code: int | None, wanted: bool) -> str:
    if wanted:
        return "the run was ended before it was done, as its executor was shut down"
    if code is None:
        return "the run's process ended before it answered, nobody knows how"
    if code < 0:
        how = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = " The system does that when memory runs out: use fewer workers." if -code == signal.SIGKILL else ""
        return f"the run's process was ended by {how} before it answered.{hint}"
    return f"the run's process ended with exit code {code} before it answered"
