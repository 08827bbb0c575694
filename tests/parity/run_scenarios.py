"""Play every scenario on one of the two packages and store what happened: ``play.py upstream|ours FILE``."""

from __future__ import annotations

import contextlib
import io
import random
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))


def observe(trainer: Any) -> dict[str, Any]:
    """Collect what a user can read of a trainer after it has run."""
    optimizer = trainer.optimizer
    return {
        "weights": dict(trainer.model.state_dict()),
        "gradients": [None if p.grad is None else p.grad.clone() for p in trainer.model.parameters()],
        "training flags": [m.training for m in trainer.model.modules()],
        "optimizer state": None if optimizer is None else optimizer.state_dict(),
        "learning rates": None if optimizer is None else [g["lr"] for g in optimizer.param_groups],
        "log_train": {k: list(v) for k, v in trainer.log_train.items()},
        "log_test": {k: list(v) for k, v in trainer.log_test.items()},
        "train_metrics": dict(trainer.train_metrics),
        "test_metrics": dict(trainer.test_metrics),
        "mode": trainer.mode,
        "step": trainer.progress_checker.get_step(),
        "epoch": trainer.progress_checker.get_epoch(),
        "loss_buffer": trainer.loss_buffer,
        "best epoch": (trainer.weight_buffer.get("epoch") or [None])[-1],
        "counts": (trainer.n_data, trainer.n_valid_data, trainer.batch_size, trainer.valid_batch_size),
        "trace": trainer.trace,
        "saved model": saved_model(trainer),
        "random state": torch.get_rng_state(),
    }


def saved_model(trainer: Any) -> Any:
    """Return what StateManagerAddon has written of the model, if it is there."""
    path = Path(getattr(trainer, "save_path", "")) / "model.ckpt"
    if not hasattr(trainer, "save_path") or not path.exists():
        return None
    return {key: value.detach() for key, value in torch.load(path, weights_only=True).items()}


def main(which: str, file: str) -> None:
    if which == "upstream":
        import reference

        reference.install(reference.fetch())
    import scenarios

    torch.set_num_threads(1)
    results = {}
    for name, scenario in scenarios.SCENARIOS.items():
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                results[name] = observe(scenario())
        except Exception:
            results[name] = {"error": traceback.format_exc()}
    torch.save(results, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
