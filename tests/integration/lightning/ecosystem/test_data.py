"""Data: batches of torch_geometric, litdata's loader, MONAI's dictionaries, torchdata's stateful loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import callbacks as C
from torch import nn
from torch.nn import functional as F

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import MultiGPUAddon

from ..conformance.observing import on
from ..conformance.players import Player
from ..conformance.problem import Values, dataset, valid_loader


def test_graphs_of_torch_geometric_arrive_whole(compare: Any):
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader
    from torch_geometric.nn import GCNConv, global_mean_pool

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = GCNConv(10, 4), nn.Linear(4, 2)

        def forward(self, data: Any) -> torch.Tensor:
            return self.head(global_mean_pool(self.conv(data.x, data.edge_index).relu(), data.batch))

    def values(model: Any, batch: Any) -> Values:
        return {"loss": F.cross_entropy(model(batch), batch.y), "graphs": float(batch.num_graphs)}

    def loader() -> Any:
        edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
        graphs = [Data(x=x.repeat(3, 1), edge_index=edges, y=y.reshape(1)) for x, y in dataset()]
        return DataLoader(graphs, 8)

    def play(player: Player) -> dict[str, Any]:
        subject = player.make(model=Net, train=values, test=values, callbacks=[C.Callback()])
        subject.fit(2, loader(), loader())
        return {"weights": subject.weights(), "results": subject.results()}

    compare(play)


def test_the_loader_of_litdata_trains(compare: Any, tmp_path: Path):
    import litdata

    folder = str(tmp_path / "optimized")
    litdata.optimize(fn=_sample, inputs=list(range(24)), output_dir=folder, chunk_bytes="64MB", num_workers=1)

    def play(player: Player) -> dict[str, Any]:
        loader = litdata.StreamingDataLoader(litdata.StreamingDataset(folder), batch_size=8)
        subject = player.make(callbacks=[C.Callback()]).fit(2, loader, valid_loader())
        return {"weights": subject.weights(), "results": subject.results(), **subject.counts()}

    compare(play)


N_READ = [0]


class Streaming(Trainer.add_on(MultiGPUAddon)):
    def train_step(self, batch: Any) -> dict[str, Any]:
        x, y, index = batch
        return {"loss": F.cross_entropy(self.model(x), y), "output": index, "n_read": float(N_READ[0])}

    def test_step(self, batch: Any) -> dict[str, Any]:
        return self.train_step(batch)


def test_each_process_reads_its_part_of_a_dataset_of_litdata(tmp_path: Path):
    import litdata

    folder = str(tmp_path / "optimized")
    litdata.optimize(fn=_indexed, inputs=list(range(24)), output_dir=folder, chunk_size=4, num_workers=1)
    data = litdata.StreamingDataset(folder, shuffle=True, transform=_counted)
    model = nn.Linear(10, 2)
    trainer = Streaming(model, ["cpu", "cpu"], "train", torch.optim.SGD(model.parameters(), 0.1), log_bar=False)
    trainer.run(1, litdata.StreamingDataLoader(data, batch_size=4))
    assert sorted(torch.cat(trainer.log_train["output"]).tolist()) == list(range(24))
    assert float(trainer.log_train["n_read"][-1]) == 12
    assert data.distributed_env.world_size == 1  # here


def _indexed(index: int) -> Any:
    return (*_sample(index), index)


def _counted(row: Any) -> Any:
    N_READ[0] += 1
    return row


def _sample(index: int) -> Any:
    x, y = dataset()[index]
    return x, int(y)


def test_dictionaries_of_monai_with_meta_tensors(compare: Any):
    from monai.data import DataLoader, Dataset
    from monai.transforms import Compose, EnsureTyped, ScaleIntensityd

    def values(model: Any, batch: Any) -> Values:
        output = model(batch["image"].flatten(1))
        return {"loss": F.cross_entropy(output, batch["label"]), "is_meta": float(hasattr(batch["image"], "meta"))}

    def loader() -> Any:
        samples = [{"image": x.reshape(1, 10).numpy(), "label": int(y)} for x, y in dataset()]
        transform = Compose([EnsureTyped(keys=["image"]), ScaleIntensityd(keys=["image"])])
        return DataLoader(Dataset(samples, transform), batch_size=8)

    def play(player: Player) -> dict[str, Any]:
        subject = player.make(train=values, test=values, callbacks=[C.Callback()]).fit(2, loader(), loader())
        return {"weights": subject.weights(), "results": subject.results()}

    compare(play)


def test_a_stateful_loader_is_resumed_in_the_middle_of_an_epoch(compare: Any, way: str):
    from torchdata.stateful_dataloader import StatefulDataLoader

    if way == "run":
        pytest.skip("run counts whole epochs behind a checkpoint; tests of exact resume have this")

    def play(player: Player) -> dict[str, Any]:
        save = C.ModelCheckpoint(player.folder / "saved", "{step}", every_n_train_steps=4, save_top_k=-1)
        player.make(callbacks=[save], seed=1).fit(1, StatefulDataLoader(dataset(), 4))
        seen: list[float] = []
        note = on("on_train_batch_start", lambda trainer, module, batch, i: seen.append(float(batch[0].sum())))
        subject = player.make(callbacks=[note], seed=2)
        path = player.folder / "saved" / "step=4.ckpt"
        subject.fit(1, StatefulDataLoader(dataset(), 4), ckpt_path=path)
        return {"seen": seen, "weights": subject.weights(), **subject.counts()}

    compare(play)
