"""Jobs run one after another in a thread, and their failures reach the thread that waits."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref

import pytest

from zae_engine.trainer.utilities.background_jobs import BackgroundJobs


def test_jobs_run_in_order_while_the_caller_continues():
    jobs, gate, done = BackgroundJobs(), threading.Event(), []
    jobs.submit(lambda: done.append(("first", gate.wait(60))), pytest.fail)
    jobs.submit(lambda: done.append("second"), pytest.fail)
    assert done == []
    gate.set()
    jobs.wait()
    assert done == [("first", True), "second"]


def test_a_failure_drops_the_jobs_behind_it_and_reaches_the_caller_once():
    jobs, gate, done, failures = BackgroundJobs(), threading.Event(), [], []

    def fail():
        gate.wait(60)
        raise KeyError("the cause")

    jobs.submit(fail, failures.append)
    jobs.submit(lambda: done.append("behind"), pytest.fail)
    jobs.report()
    assert failures == []
    gate.set()
    jobs.wait()
    assert [repr(error) for error in failures] == ["KeyError('the cause')"]
    assert done == []
    jobs.report()
    assert len(failures) == 1
    jobs.submit(lambda: done.append("later"), pytest.fail)
    jobs.wait()
    assert done == ["later"]


def test_what_a_handler_raises_reaches_the_caller():
    def fail():
        raise OSError("the disk is full")

    def reraise(error):
        raise error

    jobs = BackgroundJobs()
    jobs.submit(fail, reraise)
    with pytest.raises(OSError, match="the disk is full"):
        jobs.wait()
    jobs.wait()


def test_nothing_is_left_after_the_jobs():
    class Held:
        pass

    jobs, held, before = BackgroundJobs(), Held(), threading.active_count()
    freed = weakref.ref(held)
    jobs.submit(lambda held=held: None, lambda error, held=held: None)
    del held
    jobs.wait()
    gc.disable()
    try:
        assert freed() is None
    finally:
        gc.enable()
    assert threading.active_count() == before


def test_many_jobs_from_one_caller_all_run():
    jobs, done = BackgroundJobs(), []
    for number in range(2000):
        jobs.submit(lambda number=number: done.append(number), pytest.fail)
    jobs.wait()
    assert done == list(range(2000))


def test_a_copy_has_no_jobs():
    jobs, gate = BackgroundJobs(), threading.Event()
    jobs.submit(lambda: gate.wait(60), pytest.fail)
    copied = pickle.loads(pickle.dumps(jobs))
    copied.wait()
    gate.set()
    jobs.wait()
