"""Diffusion on scikit-learn's digits: a trainer that calls ``run_batch`` itself, in a loop that samples images.

As zae-engine's own diffusion trainer does, ``generate`` switches to test mode and goes through ``run_batch`` once for
every step of denoising, outside `run`. Run it with ``python examples/diffusion.py``; it takes about a minute on a CPU,
and ends by drawing some digits as text.
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer

STEPS = 50


class Denoiser(nn.Module):
    """Predicts the noise in an image of 64 pixels from the image and the step of diffusion."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.time = nn.Embedding(STEPS, width)
        self.first, self.last = nn.Linear(64, width), nn.Linear(width, 64)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(3))

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        for layer in self.layers:
            hidden = hidden + layer(F.silu(hidden + self.time(t)))
        return self.last(F.silu(hidden))


class DiffusionTrainer(Trainer):
    """Learns to tell the noise; `generate` turns noise into images."""

    def __init__(self, model, device, **kwargs):
        super().__init__(model, device, **kwargs)
        self.betas = torch.linspace(1e-3, 0.12, STEPS, device=self.device[0])
        self.kept = (1 - self.betas).cumprod(0)  # how much of the image is left after each step

    def train_step(self, batch):
        image, noise = batch[0], torch.randn_like(batch[0])
        t = torch.randint(STEPS, (len(image),), device=image.device)
        kept = self.kept[t, None]
        return {"loss": F.mse_loss(self.model(kept.sqrt() * image + (1 - kept).sqrt() * noise, t), noise)}

    def test_step(self, batch):
        x, t = batch
        if t.dim():  # a batch of images and labels, from a loader
            return self.train_step(batch)
        noise = self.model(x, t.expand(len(x)))
        beta, kept = self.betas[t], self.kept[t]
        mean = (x - beta / (1 - kept).sqrt() * noise) / (1 - beta).sqrt()
        return {"output": mean + beta.sqrt() * torch.randn_like(x) * (t > 0)}

    def generate(self, n: int) -> torch.Tensor:
        """Return images, of shape ``(n, 64)``."""
        mode = self.mode
        self.toggle("test")
        self.log_reset()
        x = torch.randn(n, 64)
        for t in reversed(range(STEPS)):
            self.run_batch((x, torch.tensor(t)))
            x = self.log_test["output"][-1]
        self.toggle(mode)
        return x


def as_text(images: torch.Tensor) -> str:
    """Return images of 8 by 8 pixels beside each other, drawn with characters."""
    shades = " .:-=+*#%@"
    rows = (images.view(-1, 8, 8) * (len(shades) - 1)).round().long().clamp(0, len(shades) - 1)
    return "\n".join(
        "   ".join("".join(shades[pixel] * 2 for pixel in image[row]) for image in rows) for row in range(8)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    train_loader = DataLoader(TensorDataset(images[:1600], labels[:1600]), 64, shuffle=True)
    test_loader = DataLoader(TensorDataset(images[1600:], labels[1600:]), 64)
    model = Denoiser()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=arguments.epochs)
    trainer = DiffusionTrainer(model, "cpu", optimizer=optimizer, scheduler=scheduler)
    trainer.run(arguments.epochs, train_loader, test_loader)
    best = trainer.history.best()
    print(f"test loss {best['test_loss']:.3f} in epoch {best['epoch']}")
    trainer.apply_weights()
    print(as_text((trainer.generate(6).clamp(-1, 1) + 1) / 2))


if __name__ == "__main__":
    main()
