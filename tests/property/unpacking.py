"""Says what a step receives, in a process that has zae-engine 0.7.6: a line in, a line out."""

from __future__ import annotations

import base64
import pickle
import sys
from collections import namedtuple
from pathlib import Path

import torch

Pair = namedtuple("Pair", ["x", "y"])


def described(value):
    """Return types and values, down to the last one."""
    if isinstance(value, torch.Tensor):
        return ["tensor", str(value.dtype), value.tolist()]
    if isinstance(value, dict):
        return [type(value).__name__, [[repr(key), described(part)] for key, part in value.items()]]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, [described(part) for part in value]]
    return [type(value).__name__, repr(value)]


def received(trainer_class, batch):
    """Return what the step of a trainer is given for a batch, or the kind of error that comes of it."""
    seen = []

    class Looking(trainer_class):
        def train_step(self, batch):
            seen.append(described(batch))
            return {"loss": self.model.weight.sum()}

        def test_step(self, batch):
            seen.append(described(batch))
            return {"loss": torch.zeros(())}

    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Looking(model, torch.device("cpu"), "test", optimizer, None, log_bar=False)
    try:
        trainer.run_batch(batch)
    except Exception:
        return "error"
    return seen


def main() -> None:
    sys.path.insert(0, sys.argv[1])  # of the project
    from tests.parity import reference

    reference.install(Path(sys.argv[2]))
    from zae_engine.trainer import Trainer

    sys.modules["tests.property.unpacking"] = sys.modules["__main__"]  # where the pickles look for Pair
    for line in sys.stdin:
        batch = pickle.loads(base64.b64decode(line))
        print(base64.b64encode(pickle.dumps(received(Trainer, batch))).decode(), flush=True)


if __name__ == "__main__":
    main()
