"""Web runs: closed with the last trainer that has them, and only by the process that has opened them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zae_engine.trainer.addons import web_runs


class Trainer:
    """Anything that can be freed."""


class Run:
    """A run that counts how often it is closed."""

    def __init__(self):
        self.closed = 0

    def is_live(self):
        return not self.closed

    def close(self):
        self.closed += 1


def hold(trainer, run):
    web_runs.hold(trainer, run, Run.close, closes_at_exit=True)


def test_a_run_is_closed_with_its_trainer():
    trainer, run = Trainer(), Run()
    hold(trainer, run)
    assert run.is_live()
    del trainer
    assert run.closed == 1


def test_a_shared_run_is_closed_with_the_last_of_its_trainers():
    first, second, run = Trainer(), Trainer(), Run()
    hold(first, run)
    hold(second, run)
    del first
    assert run.is_live()
    del second
    assert run.closed == 1


def test_a_trainer_can_give_up_its_runs_before_it_is_freed():
    trainer, runs = Trainer(), [Run(), Run()]
    for run in runs:
        hold(trainer, run)
    web_runs.release_all(trainer)
    assert [run.closed for run in runs] == [1, 1]
    web_runs.release_all(trainer)
    del trainer
    assert [run.closed for run in runs] == [1, 1]


def test_a_run_that_is_closed_already_is_left_alone():
    trainer, run = Trainer(), Run()
    hold(trainer, run)
    run.close()
    del trainer
    assert run.closed == 1


def test_nothing_is_kept_of_trainers_that_are_freed():
    before = len(web_runs._held), len(web_runs._finalizers)
    for _ in range(10):
        hold(Trainer(), Run())
    assert (len(web_runs._held), len(web_runs._finalizers)) == before


def test_a_run_that_fails_to_close_costs_a_warning():
    class Failing(Run):
        def is_live(self):
            raise OSError("gone")

    trainer = Trainer()
    hold(trainer, Failing())
    with pytest.warns(UserWarning, match=r"was not closed \(OSError: gone\)"):
        del trainer


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a fork")
def test_a_fork_closes_no_run():
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.unit.trainer.addons.test_web_runs import Run, Trainer, hold\n"
        "trainer, run = Trainer(), Run(); hold(trainer, run)\n"
        "if os.fork() == 0:\n"
        "    del trainer; os._exit(run.closed)\n"
        "_, status = os.wait(); del trainer\n"
        "print(os.waitstatus_to_exitcode(status), run.closed)\n"
    )
    root = str(Path(__file__).parents[4])
    done = subprocess.run([sys.executable, "-c", script, root], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["0", "1"]


@pytest.mark.parametrize(("closes_at_exit", "output"), [(True, ""), (False, "closed\nclosed\n")])
def test_at_the_end_of_the_program_runs_are_closed_unless_their_package_does_it(closes_at_exit, output):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.unit.trainer.addons.test_web_runs import Run, Trainer\n"
        "from zae_engine.trainer.addons import web_runs\n"
        "trainers = [Trainer(), Trainer()]\n"
        "for trainer in trainers:\n"
        f"    web_runs.hold(trainer, Run(), lambda run: print('closed'), closes_at_exit={closes_at_exit})\n"
    )
    root = str(Path(__file__).parents[4])
    done = subprocess.run([sys.executable, "-c", script, root], check=True, capture_output=True, text=True)
    assert done.stdout == output
