"""Hidden frames: what IPython and pytest leave out of a traceback."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import traceback
import weakref
from pathlib import Path

import pytest
import torch

from tests.conftest import Classifier
from zae_engine.trainer.utilities.hidden_frames import show_exception

ROOT = Path(__file__).parents[4]


class Failing(Classifier):
    def train_step(self, batch):
        return helper(batch)

    test_step = train_step


def helper(batch):
    raise ValueError("mine")


def frames_of(function, *args):
    """Return the names of all functions of an exception, and of those that are shown."""
    with pytest.raises(ValueError, match="mine") as caught:
        function(*args)
    frames = [frame for frame, _ in traceback.walk_tb(caught.tb)]
    shown = [frame.f_code.co_name for frame in frames if not frame.f_locals.get("__tracebackhide__")]
    return [frame.f_code.co_name for frame in frames], shown


def test_the_users_frames_are_shown_alone(make, loader, valid_loader):
    everything, shown = frames_of(make(Failing).run, 1, loader)
    assert shown == ["frames_of", "train_step", "helper"]
    assert len(everything) > 20
    for call in (make(Failing).inference, make(Failing).evaluate, make(Failing).run_epoch):
        assert frames_of(call, valid_loader)[1] == ["frames_of", "train_step", "helper"]


def test_an_environment_variable_shows_all(make, loader, monkeypatch):
    monkeypatch.setenv("ZAE_ENGINE_ALL_FRAMES", "1")
    everything, shown = frames_of(make(Failing).run, 1, loader)
    assert shown == everything


def test_overridden_methods_of_the_user_are_shown(make, loader):
    class Own(Failing):
        def run_epoch(self, loader, **kwargs):
            super().run_epoch(loader, **kwargs)

        def run_batch(self, batch, **kwargs):
            super().run_batch(batch, **kwargs)

    shown = frames_of(make(Own).run, 1, loader)[1]
    assert shown == ["frames_of", "run_epoch", "run_batch", "train_step", "helper"]


def test_hiding_keeps_nothing_alive(make, loader):
    trainer = make(Failing)
    kept = weakref.ref(trainer.model)
    try:
        trainer.run(1, loader)
    except ValueError as caught:
        error = caught
    traceback.clear_frames(error.__traceback__)
    del trainer
    gc.collect()
    assert kept() is None
    assert error.args == ("mine",)


def test_variables_of_a_hidden_frame_can_be_read(make, loader):
    try:
        make(Failing).run(1, loader)
    except ValueError as error:
        found = [f.f_locals.get("batch") for f, _ in traceback.walk_tb(error.__traceback__)]
    assert any(isinstance(value, tuple) and isinstance(value[0], torch.Tensor) for value in found)


SCRIPT = """
import sys, traceback
import torch
from tests.unit.trainer.utilities.test_hidden_frames import Failing

def hook(*exception):
    print("mine", file=sys.stderr)

{before}
model = torch.nn.Linear(10, 2)
trainer = Failing(model, 'cpu', optimizer=torch.optim.SGD(model.parameters(), 0.1), log_bar=False)
try:
    trainer.run(1, [(torch.zeros(2, 10), torch.zeros(2))])
except ValueError as error:
    {handler}
"""
LIGHTNING, OWN = "_call_and_handle_interrupt", "in train_step"


@pytest.fixture
def shown(tmp_path):
    """Return what a script shows that ends with an exception of a step."""

    def shown(before="", handler="raise", **environment):
        (tmp_path / "script.py").write_text(SCRIPT.format(before=before, handler=handler))
        paths = os.pathsep.join(path for path in sys.path if path)
        done = subprocess.run(
            [sys.executable, "script.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{paths}", **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        return done.stderr

    return shown


def test_python_shows_the_frames_of_the_user_and_says_how_many_it_leaves_out(shown):
    text = shown()
    frames = re.findall(r'File ".*", line \d+, in (\S+)', text)
    assert frames == ["<module>", "train_step", "helper"]
    assert "return helper(batch)" in text
    assert re.search(r"^ValueError: mine$", text, re.MULTILINE)
    last = text.splitlines()[-1]
    number = int(re.fullmatch(r"\((\d+) frames .* ZAE_ENGINE_ALL_FRAMES=1 shows them\.\)", last)[1])
    everything = shown(ZAE_ENGINE_ALL_FRAMES="1")
    assert len(re.findall(r'^  File "', everything, re.MULTILINE)) == number + 3
    if sys.version_info >= (3, 11):
        assert "in train_step, epoch 1, batch 1: " in text


def test_causes_are_shown_too(shown):
    text = shown(handler="raise RuntimeError('other') from error")
    assert "ValueError: mine" in text
    assert "direct cause" in text
    assert "RuntimeError: other" in text


def test_what_reads_the_exception_has_all_frames(shown):
    text = shown(handler="traceback.print_exc(); print('printed', file=sys.stderr); raise")
    printed, left = text.split("printed\n")
    assert LIGHTNING in printed
    assert LIGHTNING not in left


def test_a_hook_of_the_users_own_stays(shown):
    text = shown("sys.excepthook = hook")
    assert text.splitlines()[-1] == "mine"
    assert OWN not in text


def test_exceptions_without_hidden_frames_are_shown_as_ever(capsys):
    try:
        helper(None)
    except ValueError as error:
        show_exception(ValueError, error, error.__traceback__)
        show_exception(ValueError, error, None)
    text = capsys.readouterr().err
    assert "in helper" in text
    assert "left out" not in text
