"""Parts of a range, each done exactly once, by whichever thread comes first."""

from __future__ import annotations

import os
import threading
import time

import pytest
import torch

from gfopt.threads import for_kernels, in_threads


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 64, 1000])
def test_every_number_is_done_once(threads, count):
    done, lock = [], threading.Lock()

    def work(first, last):
        with lock:
            done.extend(range(first, last))

    in_threads(count, 1 << 20, work)
    assert sorted(done) == list(range(count))


def test_one_thread_does_it_all_in_one_part():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    parts = []
    in_threads(100, 1 << 20, lambda first, last: parts.append((first, last, threading.current_thread())))
    torch.set_num_threads(before)
    assert parts == [(0, 100, threading.current_thread())]


def test_several_threads_take_part():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    workers, meeting = set(), threading.Barrier(3, timeout=20)

    def work(_first, _last):
        me = threading.get_ident()
        if me not in workers:
            workers.add(me)
            meeting.wait()

    in_threads(12, 1 << 20, work)
    torch.set_num_threads(before)
    assert len(workers) == 3


def test_an_error_in_any_part_is_raised(threads):
    def work(first, last):
        if first <= 5 < last:
            raise ValueError("the sixth")

    with pytest.raises(ValueError, match="the sixth"):
        in_threads(10, 1 << 20, work)
    done = []
    in_threads(4, 1 << 20, lambda first, last: done.append((first, last)))  # and the threads are still there
    assert sum(last - first for first, last in done) == 4


def test_callers_of_several_threads_do_not_wait_for_each_other(threads):
    found = [0] * 4

    def caller(place):
        def work(first, last):
            time.sleep(0.001)
            found[place] += last - first if threads == 1 else 0

        in_threads(20, 1 << 20, work)
        found[place] = 20

    callers = [threading.Thread(target=caller, args=(i,)) for i in range(4)]
    for one in callers:
        one.start()
    for one in callers:
        one.join(timeout=20)
    assert found == [20] * 4


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
def test_a_forked_process_has_threads_of_its_own():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    in_threads(8, 1 << 20, lambda _first, _last: None)  # now there are some
    child = os.fork()
    if not child:
        total = []
        in_threads(8, 1 << 20, lambda first, last: total.append(last - first))
        os._exit(0 if sum(total) == 8 else 1)
    torch.set_num_threads(before)
    deadline = time.monotonic() + 20
    ended, status = 0, 0
    while not ended and time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.005)
    if not ended:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert ended == child
    assert os.waitstatus_to_exitcode(status) == 0


def test_torch_takes_one_thread_while_kernels_have_them_all():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with for_kernels(), for_kernels():
            assert torch.get_num_threads() == 1
            who = set()
            meet = threading.Barrier(3, timeout=10)

            def work(_first, _last):
                if threading.current_thread() not in who:
                    who.add(threading.current_thread())
                    meet.wait()

            in_threads(12, 1 << 20, work)
            assert len(who) == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
