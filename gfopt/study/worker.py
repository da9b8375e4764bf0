"""What runs in a worker process: one task from a channel, answered there; and the server that forks it.

A channel carries a byte that says that the worker is there, one task and one reply, the latter two as their
length in 8 bytes and that many bytes. While the task runs nothing more is sent; that the channel closes means
that the parent is gone or wants the worker gone.
"""

from __future__ import annotations

import importlib
import os
import pickle
import selectors
import signal
import socket
import struct
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, NamedTuple, NoReturn

import cloudpickle

LENGTH = struct.Struct("!Q")
READY = b"r"
EXIT_CODE = struct.Struct("!i")


class Task(NamedTuple):
    """A call, and the surroundings it expects.

    Attributes:
        call: `(function, args, kwargs)`, pickled; unpickled once the surroundings are in place.
        environ, path, folder: the parent's environment, `sys.path` and working folder.
    """

    call: bytes
    environ: dict[str, str]
    path: list[str]
    folder: str | None


class Reply(NamedTuple):
    """What became of a task.

    Attributes:
        ok: whether it returned.
        value: the pickled result, or the pickled exception; `None` if that could not be pickled.
        text: the exception's type and message.
        trace: the exception's traceback.
    """

    ok: bool
    value: bytes | None
    text: str = ""
    trace: str = ""


def read_frame(channel: IO[bytes]) -> bytes | None:
    """The next message of a channel, or `None` if it closed before a whole one came."""
    head = channel.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = channel.read(length)
    return body if len(body) == length else None


def serve(descriptor: int, preload: Sequence[str]) -> NoReturn:
    """Fork a worker for every request on the socket `descriptor`, until it closes; then end those that run.

    A request is one byte with two sockets: the worker's channel, and a control socket on which its exit code
    is sent, and which is closed to have it killed.

    Args:
        descriptor: of a connected Unix socket.
        preload: modules to import first, so that no worker has to, or functions of them to call, as `module:name`.
    """
    for name in preload:
        module, _, function = name.partition(":")
        with suppress(ImportError):  # the task that needs it says so better
            found = importlib.import_module(module)
            if function:
                getattr(found, function)()
    with socket.socket(fileno=descriptor) as requests:
        requests.sendall(READY)
        _Server(requests).run()
    os._exit(0)  # at once: torch takes half a second to say goodbye


def run_fresh() -> NoReturn:
    """Be a worker whose channel is standard input and output."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.dup2(2, 1)  # what the task prints does not get into the reply
    _work(incoming, outgoing)


class _Server:
    def __init__(self, requests: socket.socket) -> None:
        self.requests = requests
        self.controls: dict[int, socket.socket] = {}  # of the running workers, by process id
        self.selector = selectors.DefaultSelector()
        self.wakeup, self._waker = socket.socketpair()

    def run(self) -> None:
        """Serve until the parent is gone."""
        for end in (self.wakeup, self._waker):
            end.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)  # any handler: it makes Python write to the wakeup socket
        self.selector.register(self.requests, selectors.EVENT_READ)
        self.selector.register(self.wakeup, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.wakeup:
                    self._reap()
                elif key.data is not None:
                    if self.controls.get(key.data) is key.fileobj:  # else it was reaped a moment ago
                        self._kill(key.data)
                elif not self._accept():
                    for pid in self.controls:
                        os.kill(pid, signal.SIGKILL)
                    return

    def _accept(self) -> bool:
        try:
            request, descriptors, _, _ = socket.recv_fds(self.requests, 1, 2)
        except ConnectionError:
            return False
        if not request:
            return False
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        channel, control = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        with channel:
            pid = self._fork()
            if pid == 0:
                control.close()
                self._become_worker(channel)
        control.setblocking(False)
        if pid is None:
            control.close()  # the parent sees the channel closed, with no exit code
        else:
            self.controls[pid] = control
            self.selector.register(control, selectors.EVENT_READ, pid)
        return True

    def _fork(self) -> int | None:
        try:
            with warnings.catch_warnings():
                # Only the thread of pyarrow's allocator is beside this one, and that allocator handles forks.
                warnings.simplefilter("ignore", DeprecationWarning)
                return os.fork()
        except OSError:  # no memory, or too many processes
            return None

    def _become_worker(self, channel: socket.socket) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.selector.close()
            for other in (self.requests, self.wakeup, self._waker, *self.controls.values()):
                other.close()
            _work(channel.makefile("rb"), channel.makefile("wb"))
        finally:
            os._exit(1)  # never back into the server's loop

    def _kill(self, pid: int) -> None:
        self.selector.unregister(self.controls[pid])
        os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            while self.wakeup.recv(4096):
                pass
        for pid in list(self.controls):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                with self.controls.pop(pid) as control, suppress(OSError):  # the parent may be gone
                    with suppress(KeyError):  # a killed one is not watched any more
                        self.selector.unregister(control)
                    control.sendall(EXIT_CODE.pack(os.waitstatus_to_exitcode(status)))


def _work(incoming: IO[bytes], outgoing: IO[bytes]) -> NoReturn:
    """Do the one task and end the process."""
    try:
        outgoing.write(READY)
        outgoing.flush()
        message = read_frame(incoming)
        if message is not None:
            threading.Thread(target=_end_with_parent, args=(incoming,), daemon=True).start()
            reply = pickle.dumps(tuple(_reply(Task(*pickle.loads(message)))))
            sys.stdout.flush()  # before the reply: the parent may end this process as soon as it has it
            sys.stderr.flush()
            outgoing.write(LENGTH.pack(len(reply)) + reply)
            outgoing.flush()
        os._exit(0)
    except OSError:  # the parent is gone
        os._exit(1)


def _end_with_parent(incoming: IO[bytes]) -> None:
    with suppress(OSError):
        incoming.read(1)
    os._exit(1)


def _reply(task: Task) -> Reply:
    try:
        os.environ.clear()
        os.environ.update(task.environ)
        if task.folder is not None:
            os.chdir(task.folder)
        sys.path[:] = task.path
        function, args, kwargs = pickle.loads(task.call)
        return Reply(True, cloudpickle.dumps(function(*args, **kwargs)))
    except BaseException as error:  # noqa: BLE001  (the edge of the process: the parent gets it, whatever it is)
        text = traceback.format_exception_only(error)[-1].strip()
        return Reply(False, _pickled(error), text, traceback.format_exc())


def _pickled(error: BaseException) -> bytes | None:
    """The exception, if it can be pickled; else `None`, and its text has to do."""
    try:
        data: bytes = cloudpickle.dumps(error)
    except Exception:  # noqa: BLE001  (whatever a foreign exception's own methods raise)
        return None
    return data
