"""A GAN on scikit-learn's digits: two networks with an optimizer each, in a trainer that overrides ``run_batch``.

Run it with ``python examples/gan.py``; it takes about a minute on a CPU and ends by drawing some digits as text.
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer

LATENT = 16


class GANTrainer(Trainer):
    """Its model is the generator; the discriminator and its optimizer are its own affair."""

    def __init__(self, model, device, discriminator, discriminator_optimizer, **kwargs):
        super().__init__(model, device, **kwargs)
        self.discriminator = discriminator.to(self.device[0])
        self.discriminator_optimizer = discriminator_optimizer

    def run_batch(self, batch, **kwargs):
        real = self._to_device(*batch)
        self.model.train()
        noise = torch.randn(len(real), LATENT, device=real.device)
        fake = self.model(noise)

        self.discriminator_optimizer.zero_grad()
        discriminator_loss = self.judge(real, 0.9) + self.judge(fake.detach(), 0.0)
        discriminator_loss.backward()
        self.discriminator_optimizer.step()

        self.optimizer.zero_grad()
        loss = self.judge(fake, 1.0)
        loss.backward()
        self.optimizer.step()
        self.logging({"loss": loss, "discriminator_loss": discriminator_loss})
        self.progress_checker.update_step()

    def judge(self, images, target):
        logits = self.discriminator(images)
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    def train_step(self, batch):
        raise NotImplementedError("run_batch does all of it")

    test_step = train_step


def generator() -> nn.Module:
    return nn.Sequential(
        nn.Linear(LATENT, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64), nn.Sigmoid()
    )


def discriminator() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(128, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )


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
    images = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    model, opponent = generator(), discriminator()
    trainer = GANTrainer(
        model,
        "cpu",
        opponent,
        torch.optim.Adam(opponent.parameters(), lr=2e-4, betas=(0.5, 0.999)),
        optimizer=torch.optim.Adam(model.parameters(), lr=4e-4, betas=(0.5, 0.999)),
    )
    trainer.run(arguments.epochs, DataLoader(TensorDataset(images), 32, shuffle=True))
    print(f"generator loss {trainer.history[-1]['train_loss']:.3f}, ", end="")
    print(f"discriminator loss {trainer.history[-1]['train_discriminator_loss']:.3f}")
    with torch.no_grad():
        print(as_text(model.eval()(torch.randn(6, LATENT))))


if __name__ == "__main__":
    main()
