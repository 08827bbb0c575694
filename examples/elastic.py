"""Train with torchrun so that a process that dies, or a node that leaves or joins, costs at most an epoch.

torchrun starts all processes again after each of these. The script is the same each time: it loads the latest state, if
there is one, and trains the epochs that are left. The folder of the state is one that all nodes can read.

    torchrun --nproc-per-node 2 --max-restarts 3 examples/elastic.py
    torchrun --nnodes 1:4 --nproc-per-node 4 --max-restarts 3 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \
        examples/elastic.py --device cuda --folder /shared/digits
"""

from __future__ import annotations

import argparse
import os

import torch
from digits import DigitTrainer, build_loaders, build_model

from zae_engine.trainer.addons import MultiGPUAddon, StateManagerAddon


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8, help="of all attempts together")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", default="elastic_state", help="for the state; all nodes must be able to read it")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    train, valid, _ = build_loaders(batch_size=16)  # for each process: with two, 32 samples make a step
    model = build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    trainer = DigitTrainer.add_on(StateManagerAddon, MultiGPUAddon)(
        model, arguments.device, "train", optimizer, log_bar=False, save_path=arguments.folder, save_every=1
    )
    trainer.load_state(missing_ok=True)  # a first attempt has none
    trainer.run(until=arguments.epochs, loader=train, valid_loader=valid)

    if os.environ.get("RANK", "0") == "0":
        print(f"Attempts: {int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)) + 1}")
        print(f"Epochs: {len(trainer.history)}")
        print(f"Test loss: {trainer.history[-1]['test_loss']:.4f}")


if __name__ == "__main__":
    main()
