"""Memory of a sharded model, a process: ``python -m tests.benchmarks.sharded FOLDER``, alone or under torchrun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SIZES = (1, 2, 4)
LAYERS, WIDTH = 24, 1024
ROOT = Path(__file__).parents[2]


def measure(size: int) -> tuple[float, float]:
    """Return what parameters, gradients and Adam's state take in a process, and what its peak grows by, in MB."""
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", str(size)] if size > 1 else []
    path = os.pathsep.join([str(ROOT), str(ROOT / "adapters"), os.environ.get("PYTHONPATH", "")])
    # glibc keeps the freed memory of gathered layers for itself, above all that is ever used at once; this returns it.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "MALLOC_MMAP_THRESHOLD_": "65536"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *torchrun, "-m", "tests.benchmarks.sharded", folder]
        subprocess.run(command, check=True, capture_output=True, env=environment, cwd=ROOT)
        found = [json.loads(file.read_text(encoding="utf-8")) for file in Path(folder).glob("*.json")]
    assert len(found) == size
    return max(held for held, _ in found), max(peak for _, peak in found)


def table() -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [
        f"{LAYERS} layers linear({WIDTH}, {WIDTH}), Adam, batches of 8 rows in all; the process with the most.",
        "",
        "| processes | parameters, gradients and Adam's state, MB | growth of the peak of the process, MB |",
        "|---|---|---|",
    ]
    for size in SIZES:
        held, peak = measure(size)
        lines.append(f"| {size} | {held:.0f} | {peak:.0f} |")
    return lines


def main(folder: Path) -> None:
    import logging
    import warnings

    import psutil
    import torch
    import torch.distributed.tensor
    from lightning.pytorch.strategies import ModelParallelStrategy
    from torch import nn
    from torch.distributed.fsdp import fully_shard

    from tests.benchmarks.memory import _peak
    from zae_engine.trainer import Trainer
    from zae_engine.trainer.utilities.sharded_tensors import is_sharded

    class Sharded(Trainer):
        def configure_model(self, device_mesh):
            for layer in self.model:
                fully_shard(layer, mesh=device_mesh["data_parallel"])
            fully_shard(self.model, mesh=device_mesh["data_parallel"])

        def train_step(self, batch):
            x, y = batch
            return {"loss": nn.functional.mse_loss(self.model(x), y)}

        test_step = train_step

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    size = int(os.environ.get("WORLD_SIZE", 1))
    data = torch.utils.data.TensorDataset(torch.randn(32, WIDTH), torch.randn(32, WIDTH))
    loader = torch.utils.data.DataLoader(data, 8 // size)
    arguments = {}
    if size > 1:
        arguments["lightning"] = {"strategy": ModelParallelStrategy(data_parallel_size=size, tensor_parallel_size=1)}

    def make(width):
        net = nn.Sequential(*[nn.Linear(width, width) for _ in range(LAYERS)])
        return Sharded(net, "cpu", optimizer=torch.optim.Adam(net.parameters()), log_bar=False, **arguments)

    small = torch.utils.data.TensorDataset(torch.randn(32, 8), torch.randn(32, 8))
    make(8).run(1, torch.utils.data.DataLoader(small, 8 // size))  # imports all, and connects the processes
    before = psutil.Process().memory_info().rss
    trainer = make(WIDTH)
    for _ in range(4):  # without the best weights, which are one more copy of the process's part
        trainer.run_epoch(loader)
    state = [value for values in trainer.optimizer.state.values() for value in values.values()]
    parameters = list(trainer.model.parameters())
    tensors = [*parameters, *(parameter.grad for parameter in parameters), *state]
    local = [tensor.to_local() if is_sharded(tensor) else tensor for tensor in tensors]
    held = sum(tensor.nbytes for tensor in local if isinstance(tensor, torch.Tensor))
    result = (held / 1e6, (_peak() - before) / 1e6)
    (folder / f"{os.environ.get('RANK', '0')}.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
