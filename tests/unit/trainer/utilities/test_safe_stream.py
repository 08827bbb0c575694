"""Safe stream: runs whose standard error cannot be used, as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest

from zae_engine.trainer.utilities.safe_stream import SafeStream, usable_stderr

SCRIPT = """
import io, os, sys, warnings
import torch
from zae_engine.trainer import Trainer

class MyTrainer(Trainer):
    def train_step(self, batch):
        x, y = batch
        warnings.warn("a warning of the user")
        return {"loss": (self.model(x) - y).square().mean()}
    test_step = train_step

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
STREAM
trainer = MyTrainer(model, "cpu", optimizer=optimizer, live_plot=True)
batches = [(torch.ones(2, 2), torch.ones(2, 1))] * 3
trainer.run(3, batches, batches)
trainer.inference(batches)
print("epochs:", len(trainer.history))
sys.stdout.flush()
"""
STREAMS = {
    "missing": "sys.stderr = None",
    "closed": "sys.stderr.close()",
    "broken pipe": "reader, writer = os.pipe(); os.close(reader); sys.stderr = os.fdopen(writer, 'w', buffering=1)",
    "ascii": "sys.stderr = io.TextIOWrapper(open(os.devnull, 'wb'), encoding='ascii', errors='strict')",
    "latin-1": "sys.stderr = io.TextIOWrapper(open(os.devnull, 'wb'), encoding='latin-1', errors='strict')",
    "closed descriptor": "os.close(2)",
    "full disk": "sys.stderr = open('/dev/full', 'w', buffering=1)",
    "an object with write alone": "sys.stderr = type('Writer', (), {'write': lambda self, text: len(text)})()",
}


@pytest.mark.parametrize("stream", STREAMS)
def test_a_run_completes(stream):
    if stream == "full disk" and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    script = SCRIPT.replace("STREAM", STREAMS[stream])
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
    assert done.stdout == "epochs: 3\n"


class Failing:
    encoding = "utf-8"

    def write(self, text):
        raise OSError(28, "No space left on device")


def test_an_error_costs_one_warning(monkeypatch):
    stream = SafeStream()
    monkeypatch.setattr(sys, "stderr", Failing())
    with pytest.warns(UserWarning, match="No space left on device") as caught:
        stream.write("a")
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream.write("b")
        stream.flush()


def test_characters_that_cannot_be_encoded_are_replaced(monkeypatch, tmp_path):
    with open(tmp_path / "log", "w", encoding="ascii") as file:
        monkeypatch.setattr(sys, "stderr", file)
        SafeStream().write("▁▂ loss")
    assert (tmp_path / "log").read_text() == "?? loss"


def test_a_closed_stream_is_replaced_within_and_returns(monkeypatch, tmp_path):
    with open(tmp_path / "log", "w") as file:
        pass
    monkeypatch.setattr(sys, "stderr", file)
    with usable_stderr():
        sys.stderr.write("written nowhere")
    assert sys.stderr is file
    monkeypatch.undo()
    before = sys.stderr
    with usable_stderr():
        assert sys.stderr is before
