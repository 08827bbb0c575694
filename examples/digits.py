"""Train a small convolutional network on scikit-learn's digits: 1,797 handwritten digits of 8 x 8 pixels.

Run it with ``python examples/digits.py``; it takes a few seconds on a CPU and needs no download.
"""

from __future__ import annotations

import argparse
import time

import torch
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.schedulers import CosineAnnealingScheduler, SchedulerChain, WarmUpScheduler
from zae_engine.trainer import Trainer


class DigitTrainer(Trainer):
    """What to do with a batch; zae-engine and Lightning do the rest."""

    def train_step(self, batch):
        x, y = batch
        logits = self.model(x)
        return {"loss": F.cross_entropy(logits, y), "acc": (logits.argmax(1) == y).float().mean()}

    def test_step(self, batch):
        x, y = batch
        logits = self.model(x)
        return {"loss": F.cross_entropy(logits, y), "output": logits.argmax(1), "label_output": y}

    def metric_on_epoch_end(self):
        if self.mode == "train":
            return {}
        predicted, actual = torch.cat(self.log_test["output"]), torch.cat(self.log_test["label_output"])
        return {"accuracy": (predicted == actual).float().mean().item()}


def build_model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64 * 2 * 2, 10),
    )


def build_loaders(batch_size: int) -> tuple[DataLoader, DataLoader, DataLoader]:
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(digits.target)
    train, rest = train_test_split(range(len(y)), test_size=0.3, random_state=0, stratify=y)
    valid, test = train_test_split(rest, test_size=0.5, random_state=0, stratify=y[rest])
    train_set, valid_set, test_set = (TensorDataset(x[part], y[part]) for part in (train, valid, test))
    return (
        DataLoader(train_set, batch_size, shuffle=True),
        DataLoader(valid_set, 2 * batch_size),
        DataLoader(test_set, 2 * batch_size),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    train, valid, test = build_loaders(arguments.batch_size)
    model = build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    steps = arguments.epochs * len(train)
    warm_up = max(steps // 10, 1)
    scheduler = SchedulerChain(
        WarmUpScheduler(optimizer, total_iters=warm_up),
        CosineAnnealingScheduler(optimizer, total_iters=steps - warm_up),
    )
    trainer = DigitTrainer(
        model, arguments.device, "train", optimizer, scheduler, scheduler_step_on_batch=True, gradient_clip=1.0
    )

    start = time.perf_counter()
    trainer.run(n_epoch=arguments.epochs, loader=train, valid_loader=valid)
    seconds = time.perf_counter() - start

    trainer.apply_weights()  # the best epoch's
    predicted = torch.cat(trainer.inference(test))
    actual = test.dataset.tensors[1]
    accuracy = (predicted == actual).float().mean().item()

    print("\nConfusion matrix of the test set (rows: actual digit, columns: predicted)")
    print(confusion_matrix(actual, predicted))
    print(f"\nBest epoch: {trainer.weight_buffer['epoch'][-1] + 1} of {arguments.epochs}")
    print(f"Training time: {seconds:.1f} s")
    print(f"Test accuracy: {accuracy:.2%}")


if __name__ == "__main__":
    main()
