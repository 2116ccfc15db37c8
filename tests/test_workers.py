"Shared work: the same answers in the same order, one thread each, and an end that is an end."

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specdehaze.workers import share_work, single_thread

ROOT = Path(__file__).resolve().parents[1]


def square(number):
    return number * number


def fail_at_three(number):
    if number == 3:
        raise KeyError("three")
    return number


def slow_at_first(number):
    time.sleep(0.2 if number == 0 else 0)
    return number, os.getpid()


def threads(_):
    return torch.get_num_threads()


@given(st.lists(st.integers(), max_size=9))
def test_one_worker_is_a_map(numbers):
    assert list(share_work(square, numbers)) == [number * number for number in numbers]


def test_order_is_kept_when_the_first_is_the_slowest():
    results = list(share_work(slow_at_first, range(8), workers=2))
    assert [number for number, _ in results] == list(range(8))
    assert os.getpid() not in {process for _, process in results}


@pytest.mark.parametrize("workers", [1, 2])
def test_no_items_no_results(workers):
    assert list(share_work(square, [], workers=workers)) == []


@pytest.mark.parametrize("workers", [0, -1])
def test_less_than_one_worker_is_refused_before_anything_is_asked_for(workers):
    with pytest.raises(ValueError, match="at least one worker"):
        share_work(square, [1], workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_here_as_it_was_and_the_next_work_is_done(workers):
    with pytest.raises(KeyError, match="three"):
        list(share_work(fail_at_three, range(50), workers=workers))
    assert list(share_work(square, range(3), workers=workers)) == [0, 1, 4]


def test_with_one_worker_results_come_as_they_are_made():
    results = share_work(fail_at_three, range(5))
    assert [next(results) for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("workers", [1, 2])
def test_each_job_has_one_thread_and_the_caller_keeps_his(workers):
    torch.set_num_threads(2)
    try:
        assert set(share_work(threads, range(4), workers=workers)) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_threads_come_back_after_an_error(error):
    torch.set_num_threads(2)
    try:
        with pytest.raises(error), single_thread():
            assert torch.get_num_threads() == 1
            raise error
        assert torch.get_num_threads() == 2
        with pytest.raises(error):
            list(share_work(raiser, [error]))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def raiser(error):
    raise error


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_ends_the_work_and_the_workers(tmp_path):
    script = (
        "import os, time\nfrom pathlib import Path\nfrom specdehaze.workers import share_work\n"
        "def job(folder):\n    Path(folder, str(os.getpid())).touch()\n    time.sleep(0.3)\n"
        f"for _ in share_work(job, [{str(tmp_path)!r}] * 200, workers=2):\n    pass\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], start_new_session=True, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    workers = [int(path.name) for path in tmp_path.iterdir()]
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, complaint = process.communicate(timeout=30)
    assert process.returncode != 0 and "KeyboardInterrupt" in complaint
    wait_until(lambda: not any(is_running(worker) for worker in workers))


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
