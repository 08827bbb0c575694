"""Write states, checkpoints and what the next epochs come to: ``python -m <this package>.make FOLDER``.

``states.tar.xz`` and ``expected.json`` beside this file were written so, by version 1.0.0 before its packages were
rearranged, with torch 2.13.0 and lightning 2.6.6. Do not replace them: they are what a later version has to read.

Each scenario is written by one process and continued by another.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
import tarfile
import tempfile
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback

from zae_engine.trainer.addons import StateManagerAddon

from .scenario import CHECKPOINTS, FOLDERS, AbsoluteError, build_loaders, build_trainer, continue_training

NO_PROCESS = 2**22 + 1
"""A process number that is larger than any that Linux gives."""
EXITCODES = {
    "stopped_by_sigterm": 128 + signal.SIGTERM,
    "killed_while_writing": -signal.SIGKILL,
    "killed_after_commit": -signal.SIGKILL,
}


class SigtermAfterStep(Callback):
    """Sends this process SIGTERM in the middle of the second epoch, as a cluster does."""

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 6:
            os.kill(os.getpid(), signal.SIGTERM)


class KilledWhileWriting(AbsoluteError.add_on(StateManagerAddon)):
    """Is killed when the model of the second epoch has been written, and the optimizer has not."""

    def save_optimizer(self):
        if self.progress_checker.get_epoch() == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        super().save_optimizer()


def kill_after_commit(trainer):
    """Kill this process when the files of the second epoch are complete in ``.saved``, and none has been moved out."""
    replace = os.replace

    def replace_or_kill(source, target, **kwargs):
        if Path(source).parent.name == ".saved" and trainer.progress_checker.get_epoch() == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target, **kwargs)

    os.replace = replace_or_kill


def write(name, folder):
    """Train two epochs and leave the files of a scenario in ``folder``; see `EXITCODES` for how the process ends."""
    torch.set_num_threads(1)
    os.chdir(folder)  # the files hold paths: relative ones
    base = AbsoluteError if name in CHECKPOINTS else AbsoluteError.add_on(StateManagerAddon)
    base = KilledWhileWriting if name == "killed_while_writing" else base
    trainer = build_trainer(name, "", seed=0, base=base)
    if name == "stopped_by_sigterm":
        trainer.callbacks.append(SigtermAfterStep())
    if name == "killed_after_commit":
        kill_after_commit(trainer)
    trainer.run(2, *build_loaders(name))
    if name == "safetensor":
        trainer.save_state()  # between two runs; "ckpt" was saved within a run, when an epoch was found to be better
    if name == "ckpt":
        trainer.history.save("history.json")
        losses = {mode: trainer.history.steps(mode) for mode in ("train", "test")}
        Path("history.expected").write_text(json.dumps({"records": list(trainer.history), "losses": losses}))


def expect(name, folder):
    """Write down what two more epochs come to, from a copy of the files."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        outcome = continue_training(name, copy)
    Path(folder, f"{name}.expected").write_text(json.dumps(outcome))


def call_in_process(function, name, folder, exitcode=0):
    """Call a function in a new process; an error, if that ends otherwise than expected."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=(name, folder))
    process.start()
    process.join()
    if process.exitcode != exitcode:
        raise RuntimeError(f"{function.__name__}({name!r}) ended with {process.exitcode}, but {exitcode} is expected.")


def without_owner(member):
    """Return a member of an archive without the names and numbers of this machine's user."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def main(target):
    names = (*FOLDERS, *CHECKPOINTS)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            call_in_process(write, name, folder, EXITCODES.get(name, 0))
        (staged,) = Path(folder, "killed_while_writing").glob(".saving-*")
        staged.rename(staged.with_name(f".saving-{NO_PROCESS}"))  # the number may be another process's when it is read
        for name in names:
            call_in_process(expect, name, folder)
        expected = {name: Path(folder, f"{name}.expected") for name in (*names, "history")}
        lines = ",\n".join(f"{json.dumps(name)}: {path.read_text()}" for name, path in expected.items())
        for path in expected.values():
            path.unlink()
        Path(target).mkdir(exist_ok=True)
        Path(target, "expected.json").write_text("{\n" + lines + "\n}\n")
        with tarfile.open(Path(target, "states.tar.xz"), "w:xz", preset=9) as archive:
            for path in sorted(Path(folder).iterdir()):
                archive.add(path, path.name, filter=without_owner)


if __name__ == "__main__":
    main(sys.argv[1])
