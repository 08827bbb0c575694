"""Train on several devices: all GPUs of this machine, or two processes on the CPU.

Run it as it is, and the trainer starts the processes; or have a launcher start them, here or on several nodes:

    python examples/two_processes.py
    torchrun --nproc-per-node 2 examples/two_processes.py
    srun --ntasks-per-node 4 python examples/two_processes.py
"""

from __future__ import annotations

import os

import torch
from digits import DigitTrainer, build_loaders, build_model

from zae_engine.trainer.addons import MultiGPUAddon

N_GPUS = torch.cuda.device_count()


def main() -> None:
    torch.manual_seed(0)
    train, valid, test = build_loaders(batch_size=16)  # for each process: with two, 32 samples make a step
    model = build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    device = [f"cuda:{i}" for i in range(N_GPUS)] if N_GPUS > 1 else ["cpu", "cpu"]
    trainer = DigitTrainer.add_on(MultiGPUAddon)(model, device, "train", optimizer, log_bar=False)

    trainer.run(n_epoch=5, loader=train, valid_loader=valid)
    trainer.run(n_epoch=3, loader=train, valid_loader=valid)  # goes on

    # From here on everything is in this process, as if it had trained by itself.
    torch.save(model.state_dict(), "two_processes.pt")
    predicted = torch.cat(trainer.inference(test))
    accuracy = (predicted == test.dataset.tensors[1]).float().mean().item()
    if os.environ.get("RANK", "0") == "0":  # a launcher has several processes come here
        print(f"Steps of an epoch: {len(trainer.get_loss_history()) / 8:g}, for {len(train)} batches")
        print(f"Losses kept: {len(trainer.get_loss_history())}")
        print(f"Steps of the optimizer: {optimizer.state[model[0].weight]['step']:.0f}")
        print(f"Next epoch: {trainer.progress_checker.get_epoch()}")
        print(f"Test accuracy: {accuracy:.2%}")


if __name__ == "__main__":
    main()
