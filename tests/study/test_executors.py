"""A task in a process of its own: its result or its end comes back, and nothing outlives its executor."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest
import torch

from gfopt.errors import ConfigError, StoreError
from gfopt.study import processes
from gfopt.study.executors import LocalExecutor, RunKilled, RunTimeout, TaskError, thread_limit

PATIENCE = 60.0  # seconds after which a test that hangs fails


@pytest.fixture(params=[True, False], ids=["fork", "fresh"])
def executor(request: pytest.FixtureRequest) -> Iterator[LocalExecutor]:
    with LocalExecutor(2, preload=(), fork=request.param) as made:
        yield made


def outcome(future: Future[Any]) -> Any:
    return future.result(PATIENCE)


def alive(pid: int) -> bool:
    """Whether the process exists and is more than an entry that nobody has collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


def gone(*pids: int) -> bool:
    """Whether the processes end within the patience."""
    end = time.monotonic() + PATIENCE
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.005)
    return not any(map(alive, pids))


def read_when_there(path: Path) -> str:
    end = time.monotonic() + PATIENCE
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < end
        time.sleep(0.005)
    return path.read_text()


def sleeper(note: Path, deaf: bool = False) -> Callable[[], None]:
    """A task that writes its process id and sleeps; a deaf one lets no other thread of its process run meanwhile."""

    def run() -> None:
        note.write_text(f"{os.getpid()}\n")
        if deaf:
            ctypes.PyDLL(None).sleep(int(10 * PATIENCE))  # holds the interpreter's lock
        time.sleep(10 * PATIENCE)

    return run


def test_lambdas_closures_arguments_and_results(executor: LocalExecutor) -> None:
    factor = 3
    assert outcome(executor.submit(lambda x, *, y: factor * x + y, 2, y=1)) == 7
    assert list(executor.map(lambda x: x * factor, range(3), timeout=PATIENCE)) == [0, 3, 6]
    big = bytes(range(256)) * 2**14  # larger than what a socket holds
    assert outcome(executor.submit(lambda data: data + data, big)) == big + big


def test_one_process_a_task(executor: LocalExecutor) -> None:
    pids = {outcome(executor.submit(os.getpid)) for _ in range(3)}
    assert len(pids) == 3
    assert os.getpid() not in pids
    assert gone(*pids)


def test_classes_of_unimportable_modules_come_back_as_themselves(executor: LocalExecutor) -> None:
    class Local:
        def __init__(self, value: int) -> None:
            self.value = value

    made = outcome(executor.submit(Local, 3))
    assert type(made) is Local
    assert made.value == 3


@pytest.mark.parametrize("error", [ValueError("no", 3), KeyError("k"), StoreError("full"), OSError(2, "absent")])
def test_exceptions_come_back(executor: LocalExecutor, error: Exception) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        outcome(executor.submit(fail))
    assert caught.value.args == error.args
    assert str(caught.value) == str(error)
    assert "in fail" in caught.value.__notes__[0]  # the worker's traceback


def odd_exceptions() -> dict[str, Callable[[], BaseException]]:
    """Constructors of exceptions that do not survive pickling; local classes, which are sent by value."""

    class Stubborn(Exception):
        """Pickles, but cannot be made again from its arguments."""

        def __init__(self, first: int, second: int) -> None:
            super().__init__(f"{first} and {second}")

    class Locked(Exception):
        """Cannot be pickled."""

        def __init__(self) -> None:
            super().__init__("held")
            self.lock = threading.Lock()

    class Mute(Exception):
        """Cannot even be printed."""

        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __str__(self) -> str:
            raise ZeroDivisionError

    return {
        "Stubborn: 1 and 2": lambda: Stubborn(1, 2),
        "Locked: held": Locked,
        "Mute": Mute,
        "SystemExit: 3": lambda: SystemExit(3),  # must not end the parent
        "KeyboardInterrupt": KeyboardInterrupt,
    }


@pytest.mark.parametrize("text", odd_exceptions())
def test_other_exceptions_come_as_text(executor: LocalExecutor, text: str) -> None:
    make = odd_exceptions()[text]

    def fail() -> None:
        raise make()

    with pytest.raises(TaskError, match=text) as caught:
        outcome(executor.submit(fail))
    assert "in fail" in caught.value.__notes__[0]


def test_results_and_tasks_that_do_not_pickle(executor: LocalExecutor) -> None:
    with pytest.raises(TypeError, match="pickle"):
        outcome(executor.submit(threading.Lock))
    with pytest.raises(TypeError, match="pickle"):
        outcome(executor.submit(len, threading.Lock()))  # type: ignore[arg-type]  # what the test is about


@pytest.mark.parametrize(
    ("end", "code", "text"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), -9, "SIGKILL.*memory"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), -11, "SIGSEGV"),
        (lambda: os._exit(7), 7, "exit code 7"),
        (lambda: os._exit(0), 0, "exit code 0"),
    ],
)
def test_a_dead_process_fails_its_own_future_alone(
    executor: LocalExecutor, end: Callable[[], None], code: int, text: str
) -> None:
    futures = [executor.submit(end) if i == 1 else executor.submit(pow, i, 2) for i in range(5)]
    with pytest.raises(RunKilled, match=text) as caught:
        outcome(futures.pop(1))
    assert caught.value.exit_code == code
    assert [outcome(future) for future in futures] == [0, 4, 9, 16]


def test_every_one_of_many_deaths_is_told_and_the_server_survives() -> None:
    def end(how: int) -> int:
        if how < 2:
            os._exit(3 * how)
        if how == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return how

    with LocalExecutor(4, preload=()) as executor:
        server = outcome(executor.submit(os.getppid))
        futures = [executor.submit(end, i % 4) for i in range(120)]
        errors = [future.exception(PATIENCE) for future in futures]
        assert [getattr(error, "exit_code", None) for error in errors] == [0, 3, -9, None] * 30
        assert outcome(executor.submit(os.getppid)) == server


def test_results_stream_as_they_finish(executor: LocalExecutor, tmp_path: Path) -> None:
    def after(path: Path) -> str:
        while not path.exists():
            time.sleep(0.005)
        return "late"

    late = executor.submit(after, tmp_path / "go")
    early = [executor.submit(str, i) for i in range(3)]
    done = as_completed([late, *early], timeout=PATIENCE)
    assert [outcome(next(done)) for _ in early] == ["0", "1", "2"]
    (tmp_path / "go").touch()
    assert next(done) is late


def test_no_more_than_the_slots_run_at_once(executor: LocalExecutor, tmp_path: Path) -> None:
    def count(i: int) -> int:
        (tmp_path / str(i)).touch()
        time.sleep(0.02)
        found = len(os.listdir(tmp_path))
        (tmp_path / str(i)).unlink()
        return found

    assert max(executor.map(count, range(6), timeout=PATIENCE)) <= 2


@pytest.mark.parametrize("way", ["kill", "cancel_futures", "exception"])
def test_shutdown_ends_running_processes_and_cancels_the_rest(
    executor: LocalExecutor, tmp_path: Path, way: str
) -> None:
    running = [executor.submit(sleeper(tmp_path / str(i), deaf=i == 1)) for i in range(2)]
    pending = [executor.submit(pow, 2, 2) for _ in range(2)]
    pids = [int(read_when_there(tmp_path / str(i))) for i in range(2)]
    if way == "kill":
        executor.kill()
    elif way == "cancel_futures":
        executor.shutdown(cancel_futures=True)
    else:
        with pytest.raises(KeyboardInterrupt), executor:
            raise KeyboardInterrupt
    assert all(future.cancelled() for future in pending)
    for future in running:
        assert isinstance(future.exception(PATIENCE), RunKilled)
        assert "shut down" in str(future.exception())
    assert gone(*pids)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(pow, 2, 2)


def test_kill_while_the_server_is_still_importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gfopt_slow_import.py").write_text(
        "import os, pathlib, time\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(f'{{os.getpid()}}\\n')\n"
        f"time.sleep({10 * PATIENCE})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(processes, "_PATIENCE", 10 * PATIENCE)  # what waits for the server now fails below
    executor = LocalExecutor(1, preload=["gfopt_slow_import"])
    futures = [executor.submit(len, b"x" * 2**22), executor.submit(pow, 2, 2)]
    pid = int(read_when_there(tmp_path / "pid"))
    executor.shutdown(cancel_futures=True)
    assert isinstance(futures[0].exception(PATIENCE), RunKilled)
    assert futures[1].cancelled()
    assert gone(pid)


def test_shutdown_without_waiting_finishes_what_was_submitted(tmp_path: Path) -> None:
    def work(note: Path, go: Path) -> int:
        note.write_text(f"{os.getppid()}\n")
        while not go.exists():
            time.sleep(0.005)
        return 5

    executor = LocalExecutor(1, preload=())
    futures = [executor.submit(work, tmp_path / "server", tmp_path / "go"), executor.submit(pow, 2, 2)]
    server = int(read_when_there(tmp_path / "server"))
    executor.shutdown(wait=False)
    (tmp_path / "go").touch()
    assert [outcome(future) for future in futures] == [5, 4]
    assert gone(server)


def test_no_server_is_left_behind() -> None:
    executor = LocalExecutor(1, preload=())
    server = outcome(executor.submit(os.getppid))
    assert server != os.getpid()
    executor.shutdown()
    assert gone(server)


def test_a_dead_server_is_replaced_and_its_workers_go_on(tmp_path: Path) -> None:
    def work(note: Path, go: Path) -> int:
        note.write_text(f"{os.getppid()}\n")
        while not go.exists():
            time.sleep(0.005)
        return 5

    with LocalExecutor(2, preload=()) as executor:
        future = executor.submit(work, tmp_path / "server", tmp_path / "go")
        server = int(read_when_there(tmp_path / "server"))
        os.kill(server, signal.SIGKILL)
        assert gone(server)
        assert outcome(executor.submit(os.getppid)) != server
        (tmp_path / "go").touch()
        assert outcome(future) == 5


@pytest.mark.parametrize("fork", [True, False])
def test_time_limit(tmp_path: Path, fork: bool) -> None:
    with LocalExecutor(2, preload=(), timeout=0.3, fork=fork) as executor:
        late = executor.submit(sleeper(tmp_path / "pid", deaf=True))
        with pytest.raises(RunTimeout, match=r"an end within 0\.3 s") as caught:
            outcome(late)
        assert caught.value.exit_code is not None  # it has ended


def test_processes_that_a_task_leaves_do_not_hold_up_its_end(tmp_path: Path) -> None:
    def leave(note: Path) -> None:
        pid = os.fork()
        if pid == 0:
            time.sleep(PATIENCE)
            os._exit(0)
        note.write_text(f"{pid}\n")
        os._exit(4)

    with LocalExecutor(1, preload=()) as executor, pytest.raises(RunKilled, match="exit code 4"):
        executor.submit(leave, tmp_path / "pid").result(PATIENCE / 2)
    os.kill(int(read_when_there(tmp_path / "pid")), signal.SIGKILL)


def test_surroundings_are_those_of_the_parent_at_the_start_of_the_task(
    executor: LocalExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome(executor.submit(pow, 2, 2))  # whatever is started once has been started
    (tmp_path / "gfopt_own_module.py").write_text("VALUE = 5")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GFOPT_TEST", "here")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")

    def look() -> Any:
        import gfopt_own_module  # type: ignore[import-not-found]  # written above

        names = ("GFOPT_TEST", "OMP_NUM_THREADS")
        return gfopt_own_module.VALUE, os.getcwd(), [os.environ[name] for name in names]

    assert outcome(executor.submit(look)) == (5, str(tmp_path), ["here", "7"])


def test_workers_ignore_the_terminals_interruption(executor: LocalExecutor) -> None:
    def interrupt() -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return "still here"

    assert outcome(executor.submit(interrupt)) == "still here"


def test_prints_do_not_disturb_the_reply(executor: LocalExecutor) -> None:
    def talk() -> int:
        print("x" * 1000)
        os.write(1, b"y\n")
        sys.stdin.read()
        return 1

    assert outcome(executor.submit(talk)) == 1


def test_the_parents_surroundings_stay(executor: LocalExecutor) -> None:
    def surroundings() -> list[Any]:
        interruption = signal.getsignal(signal.SIGINT)
        return [dict(os.environ), list(sys.path), os.getcwd(), interruption, torch.get_num_threads()]

    before = surroundings()
    outcome(executor.submit(pow, 2, 2))
    assert surroundings() == before


SCRIPT = """
    import os, sys
    from gfopt.study.executors import LocalExecutor

    class Model:
        def __init__(self, n):
            self.n = n

    print("main")
    with LocalExecutor(2, preload=(), fork={fork}) as executor:
        made = list(executor.map(lambda n: Model(n), range(3)))
    print([m.n for m in made], type(made[0]) is Model)
"""


@pytest.mark.parametrize("fork", [True, False])
@pytest.mark.parametrize("how", ["file", "stdin", "-c", "-m"])
def test_main_modules_without_a_guard_run_once(tmp_path: Path, how: str, fork: bool) -> None:
    code = textwrap.dedent(SCRIPT.format(fork=fork))
    (tmp_path / "script.py").write_text(code)
    command = {"file": ["script.py"], "stdin": ["-"], "-c": ["-c", code], "-m": ["-m", "script"]}[how]
    run = {"input": code, "capture_output": True, "text": True, "timeout": PATIENCE, "check": False}
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, **run)
    assert (done.stdout, done.stderr) == ("main\n[0, 1, 2] True\n", "")


@pytest.mark.parametrize("fork", [True, False])
def test_workers_import_the_very_package_that_the_parent_does(tmp_path: Path, fork: bool) -> None:
    (tmp_path / "gfopt").symlink_to(Path(processes.__file__).parents[1])
    code = f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from gfopt.study.executors import LocalExecutor
        with LocalExecutor(1, preload=(), fork={fork}) as executor:
            print(executor.submit(lambda: sys.modules["gfopt.study.worker"].__file__).result())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "gfopt" / "study" / "worker.py")


@pytest.mark.slow
def test_notebook_cells() -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    cell = nbformat.v4.new_code_cell(textwrap.dedent(SCRIPT.format(fork=True)))
    book = nbformat.v4.new_notebook(cells=[cell])
    nbclient.NotebookClient(book, timeout=PATIENCE).execute()
    assert book.cells[0].outputs[0].text == "main\n[0, 1, 2] True\n"


ORPHANS = """
    import os, pathlib, sys, time
    from gfopt.study.executors import LocalExecutor

    def sleep(name):
        pathlib.Path(name).write_text(f"{{os.getpid()}} {{os.getppid()}}\\n")
        {body}

    executor = LocalExecutor(2, preload=(), fork={fork})
    for name in "ab":
        executor.submit(sleep, name)
    time.sleep(600)
"""


Started = tuple[subprocess.Popen[bytes], set[int]]


def started(tmp_path: Path, fork: bool, body: str = "time.sleep(600)") -> Started:
    """A main process with two running tasks, and the ids of all processes below it."""
    code = textwrap.dedent(ORPHANS.format(fork=fork, body=body))
    main = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE)
    pids = {int(pid) for name in "ab" for pid in read_when_there(tmp_path / name).split()}
    return main, pids - {main.pid}


@pytest.mark.parametrize(
    ("fork", "body"),
    [
        (True, "time.sleep(600)"),
        (True, "import ctypes; ctypes.PyDLL(None).sleep(600)"),  # holds the interpreter's lock
        (False, "time.sleep(600)"),
        (False, "while True: pass"),
    ],
)
def test_no_process_outlives_a_killed_main_process(tmp_path: Path, fork: bool, body: str) -> None:
    main, pids = started(tmp_path, fork, body)
    assert len(pids) == (3 if fork else 2)
    main.kill()
    main.communicate()  # ends when the last process that holds the pipe has ended
    assert gone(*pids)


def test_no_worker_outlives_its_killed_server_and_main_process(tmp_path: Path) -> None:
    main, pids = started(tmp_path, True)
    workers = {int(read_when_there(tmp_path / name).split()[0]) for name in "ab"}
    (server,) = pids - workers
    os.kill(main.pid, signal.SIGSTOP)  # so that it cannot react
    os.kill(server, signal.SIGKILL)
    main.kill()
    main.communicate()
    assert gone(*pids)


def test_interruption_of_the_whole_group_ends_everything(tmp_path: Path) -> None:
    """Ctrl-C in a terminal goes to every process of the group; the main process leaves its `with` block."""
    code = textwrap.dedent("""
        import os, pathlib, time
        from gfopt.study.executors import LocalExecutor

        def sleep(name):
            pathlib.Path(name).write_text(f"{os.getpid()} {os.getppid()}\\n")
            time.sleep(600)

        with LocalExecutor(2, preload=()) as executor:
            futures = [executor.submit(sleep, name) for name in "abc"]
            try:
                futures[0].result()
            finally:
                print(sorted(f.done() for f in futures), flush=True)
    """)
    main = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    )
    pids = {int(pid) for name in "ab" for pid in read_when_there(tmp_path / name).split()} - {main.pid}
    os.killpg(main.pid, signal.SIGINT)
    out, errors = main.communicate(timeout=PATIENCE)
    assert b"[False, False, False]" in out  # nothing died of the signal itself
    assert errors.rstrip().endswith(b"KeyboardInterrupt")
    assert gone(*pids)


@pytest.mark.parametrize("workers", [0, -1, True, 1.5, "2"])
def test_workers_are_checked(workers: Any) -> None:
    with pytest.raises(ConfigError, match="workers: expected a whole number of at least 1"):
        LocalExecutor(workers)


def test_time_limit_is_checked() -> None:
    with pytest.raises(ConfigError, match="timeout: expected a positive number"):
        LocalExecutor(1, timeout=0)


@pytest.mark.parametrize("threads", [0, -2, True, 1.0, None])
def test_threads_are_checked(threads: Any) -> None:
    with (
        pytest.raises(ConfigError, match="threads: expected a whole number of at least 1"),
        thread_limit(threads),
    ):
        pass


@pytest.mark.parametrize("threads", [1, 3])
def test_thread_limit_holds_inside_and_is_undone(threads: int) -> None:
    def counted() -> list[int]:
        """Torch's threads as seen here and in a new thread, which inherits nothing from OpenMP's own setting."""
        with ThreadPoolExecutor(1) as other:
            return [torch.get_num_threads(), other.submit(torch.get_num_threads).result()]

    before = counted()
    with contextlib.suppress(ZeroDivisionError), thread_limit(threads):
        assert counted() == [threads] * 2
        raise ZeroDivisionError
    assert counted() == before


def test_torch_is_loaded_and_the_thread_limit_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")

    def work() -> tuple[bool, int, set[int], float]:
        loaded = "torch" in sys.modules
        import numpy  # noqa: F401  (its BLAS is then loaded)
        import torch
        from threadpoolctl import threadpool_info

        from gfopt.study.executors import thread_limit

        with thread_limit(2):
            pools = {pool["num_threads"] for pool in threadpool_info()}
            total = float(torch.ones(1000, 1000).matmul(torch.ones(1000)).sum())
            return loaded, torch.get_num_threads(), pools, total

    with LocalExecutor(1) as executor:
        assert outcome(executor.submit(work)) == (True, 2, {2}, 1e6)
