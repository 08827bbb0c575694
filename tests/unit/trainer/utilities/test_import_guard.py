"""Import guard: imports draw no random numbers, and an interrupt waits until they are done."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from zae_engine.trainer.utilities.import_guard import guarded_import

SCRIPT = """
import random, sys
import numpy as np, torch
from torch.utils.data import DataLoader, TensorDataset
from zae_engine.trainer import Trainer
{imports}

class MyTrainer(Trainer):
    def train_step(self, batch):
        x, y = batch
        return {{"loss": (self.model(x) - y).square().mean()}}
    test_step = train_step

def states():
    numpy = np.random.get_state()
    return random.getstate(), numpy[1].tolist(), numpy[2:], torch.get_rng_state().tolist()

model = torch.nn.Linear(2, 1)
trainer = MyTrainer(model, "cpu", optimizer=torch.optim.SGD(model.parameters(), 0.1), log_bar=False)
batches = [(torch.ones(2, 2), torch.ones(2, 1))]
torch.manual_seed(0), random.seed(0), np.random.seed(0)
before = states()
{action}
assert states() == before, "{action}"
assert {loaded!r} in sys.modules
"""
ACTIONS = {
    "trainer.run(1, batches, batches)": "lightning",
    "trainer.run_epoch(batches)": "lightning",
    "trainer.inference(batches)": "lightning",
    "trainer.lightning_module": "lightning",
    "trainer.run_batch(batches[0]); trainer.history.add({'epoch': 1, 'train_loss': 1.0}); trainer.plot()": "matplotlib",
    "trainer.history.to_frame()": "pandas",
}


@pytest.mark.parametrize("action", ACTIONS)
def test_the_first_use_of_a_package_leaves_the_random_states_alone(action):
    script = SCRIPT.format(imports="", action=action, loaded=ACTIONS[action])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "MPLBACKEND": "agg"}
    )
    assert done.returncode == 0, done.stderr


def test_states_return_although_the_package_draws(tmp_path, monkeypatch):
    (tmp_path / "package_that_draws.py").write_text(
        "import random, numpy, torch\nrandom.random(), numpy.random.rand(), torch.rand(1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    expected = random.random(), np.random.rand(), torch.rand(1)
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    with guarded_import("package_that_draws"):
        import package_that_draws  # noqa: F401
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected


def test_an_interrupt_waits_for_the_end_of_the_import(tmp_path):
    (tmp_path / "slow_package.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nfor _ in range(100000): pass\ndone = True\n"
    )
    script = textwrap.dedent(
        """
        import sys
        from zae_engine.trainer.utilities.import_guard import guarded_import
        try:
            with guarded_import("slow_package"):
                import slow_package
        except KeyboardInterrupt:
            import slow_package
            assert slow_package.done
            sys.exit(7)
        """
    )
    default = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    assert subprocess.run([sys.executable, "-c", default + script], env=environment).returncode == 7


def test_the_handler_returns_and_an_imported_package_costs_nothing():
    before = signal.getsignal(signal.SIGINT)
    with guarded_import("os"):
        assert signal.getsignal(signal.SIGINT) is before
    with guarded_import("a_package_that_does_not_exist"):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
