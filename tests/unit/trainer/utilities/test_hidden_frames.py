"""Hidden frames: what IPython and pytest leave out of a traceback."""

from __future__ import annotations

import gc
import subprocess
import sys
import traceback
import weakref

import pytest
import torch

from tests.conftest import Classifier


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


def test_python_shows_all_frames(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\nfrom tests.unit.trainer.utilities.test_hidden_frames import Failing\n"
        "model = torch.nn.Linear(10, 2)\n"
        "trainer = Failing(model, 'cpu', optimizer=torch.optim.SGD(model.parameters(), 0.1), log_bar=False)\n"
        "trainer.run(1, [(torch.zeros(2, 10), torch.zeros(2))])\n"
    )
    code = f"import runpy, sys; sys.path.insert(0, '.'); runpy.run_path({str(script)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "_call_and_handle_interrupt" in done.stderr
    assert "ValueError: mine" in done.stderr
