"""What a kill, a full disk, a second writer or SIGTERM leaves in the folder of StateManagerAddon."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap

import pytest
import torch

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import StateManagerAddon

from . import kill_during_save

pytestmark = pytest.mark.timeout(400)  # a fixture runs many processes

FOLDER_AFTER = ["model.ckpt", "optimizer.zae", "scheduler.zae", "trainer.zae"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_kills_while_saving_leave_a_state_of_one_epoch(tmp_path):
    command = [sys.executable, "-m", "tests.integration.crash_safety.kill_during_save", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "recoveries, each of one epoch: 20;" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(", ".join(FOLDER_AFTER))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_kills_while_a_sharded_model_is_saved_leave_a_state_of_one_epoch():
    command = [sys.executable, "-m", "tests.integration.crash_safety.kill_sharded_save", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "recoveries, each of one epoch: 5;" in done.stdout


@pytest.mark.parametrize("moment", range(1, 40))
def test_a_save_that_ends_at_any_call_to_the_system_leaves_the_old_state_or_the_new(tmp_path, moment, monkeypatch):
    """Let every change of the disk fail in turn, and all after it, as when the process is gone."""
    trainer = kill_during_save.make(str(tmp_path))
    trainer.run(1, [torch.zeros(1)] * kill_during_save.STEPS)
    calls = [0]

    class Gone(BaseException):
        pass

    def dying(function):
        def call(*args, **kwargs):
            calls[0] += 1
            if calls[0] >= moment:
                raise Gone
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        for name in ("replace", "rename", "fsync", "mkdir", "remove", "rmdir"):
            patched.setattr(os, name, dying(getattr(os, name)))
        patched.setattr("shutil.rmtree", dying(lambda *args, **kwargs: None))
        with contextlib.suppress(Gone):
            trainer.run(1, [torch.zeros(1)] * kill_during_save.STEPS)
    other = kill_during_save.make(str(tmp_path))
    other.load_state()
    assert kill_during_save.epoch_of(other) in (1, 2)
    if calls[0] < moment:
        assert kill_during_save.epoch_of(other) == 2
        assert moment > 10  # the calls before have all been tried
    other.run(1, [torch.zeros(1)] * kill_during_save.STEPS)
    assert sorted(os.listdir(tmp_path)) == FOLDER_AFTER
    last = kill_during_save.make(str(tmp_path))
    last.load_state()
    assert kill_during_save.epoch_of(last) == kill_during_save.epoch_of(other)


def full_disk(limit):
    """Let no file of this process grow beyond so many bytes, as on a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_a_full_disk_costs_a_warning_and_leaves_the_old_state_and_the_next_better_epoch_is_saved(tmp_path):
    trainer = kill_during_save.make(str(tmp_path))
    trainer.run(1, [torch.zeros(1)] * kill_during_save.STEPS)
    before, saved_loss = {path.name: path.read_bytes() for path in tmp_path.iterdir()}, trainer.saved_loss
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    try:
        full_disk(10_000)
        with pytest.warns(UserWarning, match=r"after epoch 2 could not be saved in .*Training goes on"):
            trainer.run(1, [torch.zeros(1)] * kill_during_save.STEPS)
        with pytest.raises(OSError, match="File too large") as caught:
            trainer.save_state()
        assert caught.value.errno == errno.EFBIG
    finally:
        full_disk(soft)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert kill_during_save.epoch_of(trainer) == 2
    assert trainer.saved_loss == saved_loss
    trainer.run(1, [torch.zeros(1)] * kill_during_save.STEPS)
    other = kill_during_save.make(str(tmp_path))
    other.load_state()
    assert kill_during_save.epoch_of(other) == 3


def test_what_could_not_be_saved_is_made_up_for_by_the_next_epoch_that_beats_the_files(tmp_path):
    class Losses(kill_during_save.Falling):
        losses = iter([3.0, 1.0, 2.0, 2.5])

        def train_step(self, batch):
            loss = super().train_step(batch)["loss"]
            return {"loss": loss - loss.detach() + next(self.losses)}

        check_better = Trainer.check_better

    trainer = kill_during_save.make(str(tmp_path), Losses.add_on(StateManagerAddon))
    trainer.run(1, [torch.zeros(1)])
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    try:
        full_disk(10_000)
        with pytest.warns(UserWarning, match="could not be saved"):
            trainer.run(1, [torch.zeros(1)])  # the best, but lost to the files
    finally:
        full_disk(soft)
    trainer.run(2, [torch.zeros(1)])
    other = kill_during_save.make(str(tmp_path))
    other.load_state()
    assert (other.saved_loss, other.loss_buffer, other.progress_checker.get_epoch()) == (2.0, 1.0, 4)
    assert other.weight_buffer["epoch"] == [1]
    assert other.weight_buffer["weight"][0]["0.weight"].unique().tolist() == [2.0]


def test_files_of_two_saves_are_not_mixed(tmp_path):
    trainer = kill_during_save.make(str(tmp_path))
    trainer.run(1, [torch.zeros(1)])
    old = (tmp_path / "optimizer.zae").read_bytes()
    trainer.run(1, [torch.zeros(1)])
    (tmp_path / "optimizer.zae").write_bytes(old)
    other = kill_during_save.make(str(tmp_path))
    with pytest.raises(ValueError, match=r"'optimizer.zae' in .* is not of the same save as the other files.*delete"):
        other.load_state()
    assert other.progress_checker.get_epoch() == 1
    (tmp_path / "trainer.zae").unlink()
    other.load_state()
    assert other.model[0].weight.unique().tolist() == [2.0]
    assert other.progress_checker.get_epoch() == 1


def test_files_that_were_written_over_by_0_7_6_are_loaded_without_the_rest(tmp_path):
    trainer = kill_during_save.make(str(tmp_path))
    trainer.run(1, [torch.zeros(1)])
    trainer.run(1, [torch.zeros(1)] * 2)
    trainer.save_model(trainer.state_file("model"))
    for _ in range(3):  # another moment for the other two
        trainer.optimizer.param_groups[0]["steps"] += 1
        trainer.scheduler.last_epoch += 1
    for name in ("model", "optimizer", "scheduler"):  # one by one, as 0.7.6 writes them
        if name == "model":
            torch.nn.init.ones_(trainer.model[1].weight)
            trainer.save_model(trainer.state_file("model"))
        else:
            getattr(trainer, f"save_{name}")()
    other = kill_during_save.make(str(tmp_path))
    with pytest.warns(UserWarning, match=r"written after trainer\.zae, by zae-engine 0.7.6 or one by one"):
        other.load_state()
    assert other.scheduler.last_epoch == trainer.scheduler.last_epoch
    assert other.progress_checker.get_epoch() == 1


def test_a_scheduler_that_is_gone_leaves_no_file(tmp_path):
    trainer = kill_during_save.make(str(tmp_path))
    trainer.run(1, [torch.zeros(1)])
    trainer.scheduler = None
    trainer.run(1, [torch.zeros(1)])
    assert sorted(os.listdir(tmp_path)) == ["model.ckpt", "optimizer.zae", "trainer.zae"]
    with pytest.raises(FileNotFoundError, match=r"scheduler's file 'scheduler.zae' is missing"):
        kill_during_save.make(str(tmp_path)).load_state()


def test_methods_that_write_by_themselves_are_part_of_the_save(tmp_path):
    class Own(kill_during_save.Counting):
        def save_optimizer(self):  # as 0.7.6 has it
            torch.save(self.optimizer.state_dict(), os.path.join(self.save_path, "optimizer.zae"))

        def save_model(self, filename):
            assert os.path.basename(filename) == "model.ckpt"
            torch.save(self.model.state_dict(), filename)

    trainer = kill_during_save.make(str(tmp_path))
    trainer.__class__ = Own
    trainer.run(2, [torch.zeros(1)])
    assert sorted(os.listdir(tmp_path)) == FOLDER_AFTER
    content = torch.load(tmp_path / "trainer.zae", weights_only=True)
    assert sorted(content["files"]) == FOLDER_AFTER[:3]


SCRIPT = """
import os, signal, sys, time, torch
from torch.utils.data import DataLoader, TensorDataset
from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import MultiGPUAddon, StateManagerAddon

class Slow(Trainer.add_on(*([MultiGPUAddon] if "two" in sys.argv else []), StateManagerAddon)):
    def train_step(self, batch):
        sys.stdout.write(f"step {self.progress_checker.get_step()}\\n")
        sys.stdout.flush()
        time.sleep(0.01)
        return {"loss": self.model.weight.sum()}

    def test_step(self, batch):
        return {"loss": -torch.tensor(float(self.progress_checker.get_epoch()))}

if __name__ == "__main__":
    if "own" in sys.argv:
        signal.signal(signal.SIGTERM, lambda *_: print("own handler", flush=True))
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    device = ["cpu", "cpu"] if "two" in sys.argv else "cpu"
    trainer = Slow(model, device, optimizer=torch.optim.SGD(model.parameters(), 1.0), save_path="saved", log_bar=False)
    loader = DataLoader(TensorDataset(torch.ones(80, 1)), 2)
    if "resume" in sys.argv:
        trainer.load_state()
        print("resumed", trainer.progress_checker.get_step() - 1, round(-model.weight.item()), flush=True)
        trainer.run(1, loader, loader)
    else:
        try:
            trainer.run(50, loader, loader if "valid" in sys.argv else None)
        finally:
            print("cleaned up", flush=True)
    print("ended", trainer.progress_checker, flush=True)
"""


def start(folder, *arguments):
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def terminate_at(process, step):
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if line.strip() == f"step {step}":
            process.send_signal(signal.SIGTERM)
            break
    rest, errors = process.communicate(timeout=90)
    return process.returncode, lines + rest.splitlines(), errors


@pytest.mark.parametrize(("step", "arguments"), [(5, ()), (95, ()), (5, ("two",))])
def test_sigterm_saves_and_stops(tmp_path, arguments, step):
    code, lines, errors = terminate_at(start(tmp_path, *arguments), step)
    assert code == 128 + signal.SIGTERM, errors
    assert lines[-1] == "cleaned up"
    assert "Traceback" not in errors
    saved = sorted(os.listdir(tmp_path / "saved"))
    assert ("stopped" in saved) is (step > 90 or "two" in arguments)  # the best state is left as it is
    again = start(tmp_path, "resume", *arguments)
    out, errors = again.communicate(timeout=90)
    resumed = next(line.split() for line in out.splitlines() if line.startswith("resumed"))
    assert int(resumed[1]) == int(resumed[2]) >= step
    assert again.returncode == 0, errors
    assert not (tmp_path / "saved" / "stopped").exists()


def test_sigterm_finishes_a_validation_and_stops_at_the_end_of_the_epoch(tmp_path):
    process = start(tmp_path, "valid")
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.strip() == "step 40":  # the last training batch of the first epoch
            process.send_signal(signal.SIGTERM)
            break
    process.communicate(timeout=90)
    assert process.returncode == 128 + signal.SIGTERM
    trainer = kill_during_save.make(str(tmp_path / "saved"))
    trainer.model = torch.nn.Linear(1, 1, bias=False)
    trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), 1.0)
    trainer.scheduler = None
    trainer.load_state()
    assert repr(trainer.progress_checker) == "ProgressChecker(step=81, epoch=2)"
    assert len(trainer.history) == 1


def test_testing_neither_saves_on_sigterm_nor_forgets_where_a_run_was_stopped(tmp_path):
    trainer = kill_during_save.make(str(tmp_path))
    trainer.run(1, [torch.zeros(1)])
    trainer._zae_save_before_stopping()
    assert (tmp_path / "stopped" / "trainer.zae").exists()
    other = kill_during_save.make(str(tmp_path))
    other.load_state()
    other.toggle("test")
    other.run(1, [torch.zeros(1)])
    other.toggle("train")
    other.run(0, [torch.zeros(1)])
    kill_during_save.make(str(tmp_path)).inference([torch.zeros(1)])
    assert (tmp_path / "stopped" / "trainer.zae").exists()
    other.run(1, [torch.zeros(1)])
    assert not (tmp_path / "stopped").exists()


def test_a_state_that_another_run_has_saved_is_not_overwritten_by_a_stop(tmp_path):
    kill_during_save.make(str(tmp_path)).run(1, [torch.zeros(1)])
    best = (tmp_path / "model.ckpt").read_bytes()
    trainer = kill_during_save.make(str(tmp_path))  # has not saved anything itself
    trainer.run_batch(torch.zeros(1))
    trainer._zae_save_before_stopping()
    assert (tmp_path / "model.ckpt").read_bytes() == best
    other = kill_during_save.make(str(tmp_path))
    other.load_state()
    assert other.progress_checker.get_step() == 2


def test_a_save_state_of_the_users_own_is_called_on_sigterm_too(tmp_path):
    class Own(kill_during_save.Counting):
        def save_state(self):  # as 0.7.6 has it
            self.save_model(os.path.join(self.save_path, f"model.{self.save_format}"))
            self.save_optimizer()
            self.save_scheduler()

    trainer = kill_during_save.make(str(tmp_path))
    trainer.__class__ = Own
    trainer.run(1, [torch.zeros(1)])
    trainer._zae_save_before_stopping()
    assert sorted(os.listdir(tmp_path / "stopped")) == FOLDER_AFTER[:3]
    other = kill_during_save.make(str(tmp_path))
    other.load_state()
    assert other.model[0].weight.unique().tolist() == [1.0]


def test_a_full_disk_is_told_of_when_the_users_own_save_model_meets_it(tmp_path):
    class Own(kill_during_save.Counting):
        def save_model(self, filename):
            torch.save(self.model.state_dict(), filename)

    trainer = kill_during_save.make(str(tmp_path))
    trainer.__class__ = Own
    trainer.run(1, [torch.zeros(1)])
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    for limit in (500, 5_000, 100_000, 361_000):
        try:
            full_disk(limit)
            with pytest.warns(UserWarning, match="could not be saved"):
                trainer.run(1, [torch.zeros(1)])
        finally:
            full_disk(soft)
    assert len(trainer.history) == 5


def test_sigterm_leaves_a_handler_of_the_users_own_its_say(tmp_path):
    code, lines, errors = terminate_at(start(tmp_path, "own", "valid"), 100)
    assert code == 0, errors
    assert lines[-3:-1] == ["own handler", "cleaned up"]
    assert lines[-1].startswith("ended")


def test_sigterm_without_the_addon_ends_the_process_as_ever(tmp_path):
    (tmp_path / "plain.py").write_text(
        textwrap.dedent("""
        import os, signal, torch
        from zae_engine.trainer import Trainer

        class Plain(Trainer):
            def train_step(self, batch):
                os.kill(os.getpid(), signal.SIGTERM)
                return {"loss": self.model.weight.sum()}
            test_step = train_step

        model = torch.nn.Linear(1, 1)
        Plain(model, "cpu", optimizer=torch.optim.SGD(model.parameters(), 1.0)).run(1, [torch.ones(2, 1)])
        """)
    )
    assert subprocess.run([sys.executable, "plain.py"], cwd=tmp_path, capture_output=True).returncode == -signal.SIGTERM
