"""The parent's end of a worker process: start it, exchange one task for one reply, end it."""

from __future__ import annotations

import json
import os
import select
import selectors
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Protocol

from gfopt.study.worker import EXIT_CODE, LENGTH, READY, read_frame

# The thread pools that numeric libraries make at import do not survive a fork, and one thread makes no pool.
# `thread_limit` in the worker sets what the run asks for.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_PATIENCE = 5.0  # seconds that a process gets to end before it is forced to
# -P keeps the working folder's own modules (a `json.py`) out of the way until sys.path is the parent's.
_PYTHON = ("-P", "-c")
# The parent decides what an interruption from the terminal means, so workers ignore it from the very start.
_PROLOGUE = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "import json, sys; path, arguments = json.loads(sys.argv[1]); sys.path[:] = path; "
)


class Process(Protocol):
    """A worker process that takes one task."""

    def ready(self) -> bool:
        """Wait until the process has started; `False` if it ended instead."""

    def exchange(self, message: bytes) -> bytes | None:
        """The reply to `message`, or `None` if the process ended without one."""

    def exit_code(self) -> int | None:
        """How the process ended, as `subprocess` reports it; one that still runs is killed first."""

    def kill(self) -> None:
        """End the process; may be called from any thread at any time."""

    def close(self) -> None:
        """Free what belongs to the process, which is killed if it still runs."""


class ForkServer:
    """A process that forks workers which need no imports any more; started by the first `fork`.

    Args:
        preload: modules that it imports once, and functions of them that it calls, as `module:name`.
    """

    def __init__(self, preload: Sequence[str]) -> None:
        self._preload = list(preload)
        self._lock = threading.Lock()
        self._requests: socket.socket | None = None
        self._end: Callable[[], object] | None = None

    def fork(self) -> Forked:
        """A new worker; it may take its task before it is really there."""
        channel, worker_channel = socket.socketpair()
        control, server_control = socket.socketpair()
        with worker_channel, server_control, self._lock:
            ends = [worker_channel.fileno(), server_control.fileno()]
            try:
                socket.send_fds(self._requests or self._start(), [b"f"], ends)
            except ConnectionError:  # somebody killed the server
                self._stop()
                socket.send_fds(self._start(), [b"f"], ends)
        return Forked(channel, control)

    def interrupt_start(self) -> None:
        """Kill a server that is still importing, and so has no workers yet."""
        with self._lock:
            if self._requests is not None and not _is_ready(self._requests):
                self._stop()

    def close(self) -> None:
        """End the server and whatever it still runs."""
        with self._lock:
            self._stop()

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                _command("from gfopt.study.worker import serve; serve(*arguments)", theirs.fileno(), self._preload),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **_ONE_THREAD},
            )
        self._requests, self._end = ours, weakref.finalize(self, _end_server, ours, process)
        return ours

    def _stop(self) -> None:
        if self._end is not None:
            self._end()
        self._requests = self._end = None


class Forked:
    """A worker that the fork server makes.

    Args:
        channel: carries the task and the reply.
        control: brings the exit code; closing its sending half has the server kill the worker.
    """

    def __init__(self, channel: socket.socket, control: socket.socket) -> None:
        self._channel, self._control = channel, control
        self._lock = threading.Lock()
        self._closed = False

    def ready(self) -> bool:
        """See `Process`."""
        return self._receive(len(READY)) is not None

    def exchange(self, message: bytes) -> bytes | None:
        """See `Process`."""
        try:
            self._channel.sendall(LENGTH.pack(len(message)))
            self._channel.sendall(message)
        except ConnectionError:  # it died, or was killed
            return None
        head = self._receive(LENGTH.size)
        return self._receive(LENGTH.unpack(head)[0]) if head is not None else None

    def exit_code(self) -> int | None:
        """See `Process`."""
        self.kill()
        self._control.settimeout(_PATIENCE)
        with suppress(OSError):  # the server is gone too, or does not answer
            data = self._control.recv(EXIT_CODE.size)
            return int(EXIT_CODE.unpack(data)[0]) if data else None
        return None

    def kill(self) -> None:
        """See `Process`."""
        with self._lock:
            if not self._closed:
                for end, half in ((self._channel, socket.SHUT_RDWR), (self._control, socket.SHUT_WR)):
                    with suppress(OSError):  # it is down already
                        end.shutdown(half)

    def close(self) -> None:
        """See `Process`."""
        with self._lock:
            self._closed = True
            self._channel.close()
            self._control.close()

    def _receive(self, count: int) -> bytes | None:
        """The next `count` bytes, or `None` if the worker ends before it has sent them."""
        received = bytearray()
        # Both are watched: processes that the task forked may hold the channel open after the worker's death.
        with selectors.DefaultSelector() as selector:
            for end in (self._channel, self._control):
                selector.register(end, selectors.EVENT_READ)
            while len(received) < count:
                try:
                    ready = [key.fileobj for key, _ in selector.select()]
                    if self._channel in ready:
                        chunk = self._channel.recv(min(count - len(received), 2**20))
                        if not chunk:
                            return None
                        received += chunk
                    elif self._control.recv(1, socket.MSG_PEEK):  # an exit code
                        return None
                    else:  # the server is gone; the worker goes on without it
                        selector.unregister(self._control)
                except ConnectionError:
                    return None
        return bytes(received)


class Fresh:
    """A worker in a fresh interpreter, which takes its task on standard input."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            _command("from gfopt.study.worker import run_fresh; run_fresh()"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._outgoing: IO[bytes] = self._process.stdin
        self._incoming: IO[bytes] = self._process.stdout

    def ready(self) -> bool:
        """See `Process`."""
        return self._incoming.read(len(READY)) == READY

    def exchange(self, message: bytes) -> bytes | None:
        """See `Process`."""
        try:
            self._outgoing.write(LENGTH.pack(len(message)) + message)
            self._outgoing.flush()
        except OSError:  # it died, or was killed
            return None
        return read_frame(self._incoming)

    def exit_code(self) -> int | None:
        """See `Process`."""
        with suppress(subprocess.TimeoutExpired):  # it closed its output, so it is about to end
            return self._process.wait(_PATIENCE)
        self._process.kill()
        return self._process.wait()

    def kill(self) -> None:
        """See `Process`."""
        self._process.kill()

    def close(self) -> None:
        """See `Process`."""
        self._process.kill()
        for end in (self._outgoing, self._incoming):
            with suppress(OSError):  # unsent bytes of a task whose process died
                end.close()
        self._process.wait()


def _command(code: str, *arguments: object) -> list[str]:
    path = [entry for entry in sys.path if isinstance(entry, str)]
    return [sys.executable, *_PYTHON, _PROLOGUE + code, json.dumps([path, arguments])]


def _is_ready(requests: socket.socket) -> bool:
    """Whether the server has sent its byte; it stays in the socket."""
    return bool(select.select([requests], [], [], 0)[0])


def _end_server(requests: socket.socket, process: subprocess.Popen[bytes]) -> None:
    ready = _is_ready(requests)
    requests.close()
    if not ready:  # still importing: it has no workers, and would end only after that
        process.kill()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
