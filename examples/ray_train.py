"""Train on Ray's workers: two on this machine, or as many as there are in a cluster.

Ray restarts the workers after one of them is killed, and the training goes on from the latest checkpoint.

    pip install "ray[train]"
    python examples/ray_train.py --workers 2 --epochs 5
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import ray
import ray.train
import torch
from ray.train.torch import TorchTrainer

EXAMPLES = str(Path(__file__).parent)
sys.path.insert(0, EXAMPLES)


def train_on_worker(config: dict) -> None:
    """Train on one worker; Ray calls this in all of them."""
    from digits import DigitTrainer, build_loaders, build_model
    from ray.train.lightning import RayTrainReportCallback

    from zae_engine.trainer.addons import MultiGPUAddon

    torch.manual_seed(0)
    train, valid, _ = build_loaders(batch_size=16)  # for each worker: with two, 32 samples make a step
    model = build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    trainer = DigitTrainer.add_on(MultiGPUAddon)(  # it joins the group of Ray's workers
        model, config["device"], "train", optimizer, log_bar=False, callbacks=[RayTrainReportCallback()]
    )
    checkpoint = ray.train.get_checkpoint()  # None, unless Ray has restarted the workers
    path = None if checkpoint is None else os.path.join(checkpoint.path, RayTrainReportCallback.CHECKPOINT_NAME)
    trainer.run(until=config["epochs"], loader=train, valid_loader=valid, ckpt_path=path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--gpu", action="store_true", help="one for each worker")
    parser.add_argument("--storage", default="ray_results", help="for checkpoints; all nodes must be able to read it")
    parser.add_argument("--cpus", type=int, help="that Ray uses on this machine; by default all that there are")
    arguments = parser.parse_args()

    path = os.pathsep.join([EXAMPLES, *filter(None, [os.environ.get("PYTHONPATH")])])  # where workers find digits.py
    ray.init(num_cpus=arguments.cpus, runtime_env={"env_vars": {"PYTHONPATH": path}})
    result = TorchTrainer(
        train_on_worker,
        train_loop_config={
            "epochs": arguments.epochs,
            "lr": arguments.lr,
            "device": "cuda" if arguments.gpu else "cpu",
        },
        scaling_config=ray.train.ScalingConfig(num_workers=arguments.workers, use_gpu=arguments.gpu),
        run_config=ray.train.RunConfig(
            storage_path=os.path.abspath(arguments.storage),
            failure_config=ray.train.FailureConfig(max_failures=3),
        ),
    ).fit()
    print(f"Epochs: {result.metrics['epoch'] + 1}")
    print(f"Validation loss: {result.metrics['val_loss']:.4f}")
    print(f"Checkpoint: {result.checkpoint.path}")


if __name__ == "__main__":
    main()
