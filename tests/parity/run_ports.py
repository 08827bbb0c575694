"""Play ports on one of the two packages, each as the first run of its own process: ``run_ports.py upstream|ours``.

The process imports torch, NumPy and SciPy, then waits. For each line ``PORT FILE`` on its standard input it forks,
plays the port in the child, and stores what happened in the file; an answer on its standard output says that the child
has ended. So a port costs the import of its package, but not those of torch and of SciPy, which torchmetrics imports.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import random
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
import scipy.signal
import scipy.stats  # noqa: F401
import torch
import torch._dynamo  # torch's optimizers import it in their first step, which takes a second

sys.path.insert(0, str(Path(__file__).parent))

DEADLINE = 100  # seconds, after which a port that hangs prints all stacks and ends


def observe(trainer: Any) -> dict[str, Any]:
    """Collect what a user can read of a trainer after it has run, and what the generators will draw next."""
    optimizer = trainer.optimizer
    kind, keys, position, *gauss = np.random.get_state()
    return {
        "weights": dict(trainer.model.state_dict()),
        "gradients": [None if p.grad is None else p.grad.to_dense() for p in trainer.model.parameters()],
        "requires_grad": [p.requires_grad for p in trainer.model.parameters()],
        "training flags": [m.training for m in trainer.model.modules()],
        "optimizer state": state_dict_of(optimizer),
        "log_train": {k: list(v) for k, v in trainer.log_train.items()},
        "log_test": {k: list(v) for k, v in trainer.log_test.items()},
        "train_metrics": dict(trainer.train_metrics),
        "test_metrics": dict(trainer.test_metrics),
        "losses": {mode: [float(v) for v in trainer.get_loss_history(mode)] for mode in ("train", "test")},
        "mode": trainer.mode,
        "step": trainer.progress_checker.get_step(),
        "epoch": trainer.progress_checker.get_epoch(),
        "loss_buffer": trainer.loss_buffer,
        "best epoch": (trainer.weight_buffer.get("epoch") or [None])[-1],
        "batch sizes": (trainer.batch_size, trainer.valid_batch_size),
        "counts": None if reads_without_length(trainer) else (trainer.n_data, trainer.n_valid_data),
        "extra": plain(getattr(trainer, "extra", None)),
        "random states": {
            "torch": torch.get_rng_state(),
            "numpy": (kind, torch.from_numpy(keys.astype("int64")), position, *gauss),
            "python": random.getstate(),
        },
    }


def state_dict_of(optimizer: Any) -> Any:
    """Return the optimizer's state, or None if it can give none, as one that is only partly torch's."""
    try:
        return optimizer.state_dict()
    except AttributeError:
        return None


def reads_without_length(trainer: Any) -> bool:
    """Whether a loader of the latest run has no length, so that 0.7.6 has counted what is not there."""
    parts = [trainer.loader, trainer.valid_loader]
    parts += [getattr(part, "dataset", None) for part in parts]
    return any(getattr(part, "has_no_length", False) for part in parts)


def plain(value: Any) -> Any:
    """Return a value without modules and optimizers: their states in their places."""
    if hasattr(value, "state_dict"):
        return plain(dict(value.state_dict()))
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def keep_losses_only(trainer_class: Any) -> None:
    """Keep the losses alone in 0.7.6's loss history, as the package here does.

    It is a difference that docs/porting/differences.md lists: 0.7.6 mixes every logged value in.
    """
    original = trainer_class.logging

    def logging(self: Any, step_dict: Any) -> None:
        history = self.loss_history_train if self.mode == "train" else self.loss_history_test
        n = len(history)
        original(self, step_dict)
        history[n:] = [value for key, value in zip(step_dict, history[n:], strict=True) if key == "loss"]

    trainer_class.logging = logging


def play(which: str, name: str) -> dict[str, Any]:
    """Play one port, seeded as people do it before they build anything."""
    if which == "upstream":
        import reference

        reference.install(reference.fetch())
    import ports

    from zae_engine.trainer import Trainer

    if which == "upstream":
        keep_losses_only(Trainer)
    imported = sorted({"lightning", "torchmetrics", "matplotlib"} & set(sys.modules))
    if imported:
        raise AssertionError(f"{imported} are imported before the run, so the port is no first run")
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        trainer = ports.PORTS[name]()
    observed = observe(trainer)
    return {"observed": observed, "warnings": [f"{w.category.__name__}: {w.message}" for w in seen]}


def in_child(which: str, name: str, file: str) -> None:
    """Play one port and store its result, or its error."""
    torch.set_num_threads(1)
    faulthandler.dump_traceback_later(DEADLINE, exit=True, file=sys.__stderr__)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            result = play(which, name)
    except BaseException:
        result = {"error": traceback.format_exc()}
    torch.save(result, file)


def main(which: str) -> None:
    for line in sys.stdin:
        name, file = line.rstrip("\n").split(" ", 1)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                in_child(which, name, file)
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
