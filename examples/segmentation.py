"""Segmentation of scikit-learn's digits: which pixels of two overlapping digits belong to which.

Run it with ``python examples/segmentation.py``; it takes about half a minute on a CPU. It shows batches that are dicts,
outputs of varying content for `inference`, and a metric of the whole epoch.
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, random_split

from zae_engine.schedulers import CosineAnnealingScheduler
from zae_engine.trainer import Trainer

SIZE, CLASSES = 16, 3  # background, the digit on the left, the digit on the right


class Pairs(Dataset):
    """Images of two digits side by side, at random heights, and a mask of the class of every pixel."""

    def __init__(self, n: int) -> None:
        generator = torch.Generator().manual_seed(0)
        digits = torch.tensor(load_digits().images, dtype=torch.float32) / 16
        chosen = torch.randint(len(digits), (n, 2), generator=generator)
        places = torch.randint(SIZE - 8, (n, 2), generator=generator)
        self.images, self.masks = torch.zeros(n, 1, SIZE, SIZE), torch.zeros(n, SIZE, SIZE, dtype=torch.long)
        for i in range(n):
            for side in range(2):
                top, left, digit = int(places[i, side]), 7 * side, digits[chosen[i, side]]
                area = slice(top, top + 8), slice(left, left + 8)
                self.images[i, 0][area] = torch.maximum(self.images[i, 0][area], digit)
                self.masks[i][area][digit > 0.3] = side + 1
        self.images += 0.15 * torch.randn(self.images.shape, generator=generator)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"image": self.images[index], "mask": self.masks[index]}


class SegmentationTrainer(Trainer):
    """Cross-entropy of the pixels, and the intersection over union of each class over the epoch."""

    def train_step(self, batch):
        logits = self.model(batch["image"])
        return {"loss": F.cross_entropy(logits, batch["mask"])}

    def test_step(self, batch):
        logits = self.model(batch["image"])
        predicted = logits.argmax(1)
        return {
            "loss": F.cross_entropy(logits, batch["mask"]),
            "output": predicted,
            "confusion_output": torch.bincount(
                (CLASSES * batch["mask"] + predicted).flatten(), minlength=CLASSES**2
            ).view(CLASSES, CLASSES),
        }

    def metric_on_epoch_end(self):
        if self.mode == "train":
            return {}
        confusion = torch.stack(self.log_test["confusion_output"]).sum(0).double()
        union = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
        return {"mIoU": (confusion.diagonal() / union.clamp(min=1)).mean().item()}


def build_model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 24, 3, padding=2, dilation=2),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 24, 3, padding=4, dilation=4),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, CLASSES, 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    train_set, test_set = random_split(Pairs(1500), [1200, 300])
    train_loader, test_loader = DataLoader(train_set, 32, shuffle=True), DataLoader(test_set, 64)
    model = build_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    scheduler = CosineAnnealingScheduler(optimizer, total_iters=arguments.epochs * len(train_loader))
    trainer = SegmentationTrainer(model, "cpu", "train", optimizer, scheduler, scheduler_step_on_batch=True)
    trainer.run(arguments.epochs, train_loader, test_loader)

    trainer.apply_weights()
    masks = torch.cat(trainer.inference(test_loader))
    print(f"mean intersection over union {trainer.test_metrics['mIoU']:.3f} on {len(masks)} images")
    print("\n".join("".join(" ox"[pixel] * 2 for pixel in row) for row in masks[0]))


if __name__ == "__main__":
    main()
