"""Graphs: batches that are objects of their own, whole graphs as one batch, message passing by scatter."""

from __future__ import annotations

import copy
import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from zae_engine.trainer import Trainer

from .parts import CPU, constant, port


class Data:
    """A graph as torch_geometric has it: attributes, ``to``, and iteration over pairs of name and value."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def __iter__(self):
        yield from self.__dict__.items()

    def to(self, device):
        return Data(**{k: v.to(device) if hasattr(v, "to") else v for k, v in self})

    @staticmethod
    def from_list(graphs):
        start = np.cumsum([0] + [len(g.x) for g in graphs])
        return Data(
            x=torch.cat([g.x for g in graphs]),
            edge_index=torch.cat([g.edge_index + int(s) for g, s in zip(graphs, start)], 1),
            y=torch.cat([g.y for g in graphs]),
            batch=torch.cat([torch.full((len(g.x),), i) for i, g in enumerate(graphs)]),
            num_graphs=len(graphs),
        )


def graphs(n=24, seed=1):
    generator = torch.Generator().manual_seed(seed)
    made = []
    for i in range(n):
        nodes = 4 + i % 3
        edges = torch.randint(nodes, (2, 2 * nodes), generator=generator)
        made.append(Data(x=torch.randn(nodes, 5, generator=generator), edge_index=edges, y=torch.tensor([i % 2])))
    return made


class GraphNet(nn.Module):
    def __init__(self, outputs=2):
        super().__init__()
        self.first, self.second, self.out = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, outputs)

    def propagate(self, x, edge_index):
        return x + torch.zeros_like(x).index_add_(0, edge_index[1], x[edge_index[0]])

    def nodes(self, x, edge_index):
        x = torch.relu(self.propagate(self.first(x), edge_index))
        return self.propagate(self.second(F.dropout(x, 0.2, self.training)), edge_index)

    def forward(self, data):
        x = self.nodes(data.x, data.edge_index)
        pooled = torch.zeros(data.num_graphs, 8).index_add_(0, data.batch, x)
        return self.out(pooled / torch.bincount(data.batch)[:, None])


@port
def graph_batches_moved_by_an_own_run_batch():
    """0.7.6 would unpack the graph into pairs, so ``run_batch`` wraps it into a tuple before ``super()``."""

    class GraphTrainer(Trainer):
        def run_batch(self, batch, **kwargs):
            super().run_batch([batch], **kwargs)

        def train_step(self, data):
            output = self.model(data)
            return {"loss": F.cross_entropy(output, data.y), "acc": (output.argmax(1) == data.y).float().mean()}

        test_step = train_step

    model = GraphNet()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2, weight_decay=5e-4)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.9)
    trainer = GraphTrainer(model, CPU, "train", optimizer, scheduler, log_bar=False)
    loader = DataLoader(graphs(), 6, shuffle=True, collate_fn=Data.from_list)
    trainer.run(2, loader, DataLoader(graphs(8, 2), 4, collate_fn=Data.from_list))
    return trainer


@port
def graph_batches_unpacked_into_pairs_by_the_trainer():
    """Without an own ``run_batch`` the step gets the pairs that the batch iterates over, and makes a dict of them."""

    class GraphTrainer(Trainer):
        def train_step(self, batch):
            data = Data(**dict(batch))
            return {"loss": F.cross_entropy(self.model(data), data.y)}

        test_step = train_step

    model = GraphNet()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = GraphTrainer(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    loader = DataLoader(graphs(), 6, shuffle=True, collate_fn=Data.from_list)
    trainer.run(2, loader, DataLoader(graphs(8, 2), 4, collate_fn=Data.from_list))
    return trainer


@port
def whole_graph_in_each_step_with_early_stopping_by_hand():
    """Planetoid: the loader is a list of the one graph; patience and the best weights are the script's own."""

    class Whole(list):
        batch_size = 1
        dataset = property(lambda self: self)

    class NodeTrainer(Trainer):
        best, bad = None, 0

        def run_batch(self, batch, **kwargs):
            super().run_batch((batch,), **kwargs)

        def train_step(self, data):
            out = self.model.out(self.model.nodes(data.x, data.edge_index))
            mask = data.train_mask if self.mode == "train" else ~data.train_mask
            return {"loss": F.cross_entropy(out[mask], data.y[mask])}

        test_step = train_step

        def check_better(self, cur_epoch, cur_loss):
            better = super().check_better(cur_epoch, cur_loss)
            self.best, self.bad = (copy.deepcopy(self.model.state_dict()), 0) if better else (self.best, self.bad + 1)
            return better

    generator = torch.Generator().manual_seed(1)
    graph = Data(
        x=torch.randn(30, 5, generator=generator),
        edge_index=torch.randint(30, (2, 80), generator=generator),
        y=torch.randint(2, (30,), generator=generator),
        train_mask=torch.arange(30) < 15,
    )
    model = GraphNet()
    optimizer = torch.optim.Adam(model.parameters(), 5e-2)
    trainer = NodeTrainer(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    while trainer.bad < 2 and trainer.progress_checker.get_epoch() < 12:
        trainer.run(1, Whole([graph]), Whole([graph]))
    model.load_state_dict(trainer.best)
    trainer.extra = trainer.bad
    return trainer


@port
def node_embeddings_by_random_walks_and_negative_samples():
    """node2vec: walks by `random`, negatives by `numpy.random`; a sparse table and SparseAdam."""

    class Node2Vec(Trainer):
        def train_step(self, batch):
            walks, negatives = batch
            start, rest = self.model(walks[:, :1]), self.model(walks[:, 1:])
            positive = -(start * rest).sum(2).sigmoid().clamp(min=1e-6).log().mean()
            negative = -(1 - (start * self.model(negatives)).sum(2).sigmoid()).clamp(min=1e-6).log().mean()
            return {"loss": positive + negative}

        test_step = train_step

    neighbours = {i: [(i + 1) % 12, (i + 5) % 12, (i * 7) % 12] for i in range(12)}

    def sample(starts):
        walks = []
        for node in starts:
            walk = [node]
            while len(walk) < 4:
                walk.append(random.choice(neighbours[walk[-1]]))
            walks.append(walk)
        return torch.tensor(walks), torch.from_numpy(np.random.randint(12, size=(len(starts), 3)))

    model = nn.Embedding(12, 4, sparse=True)
    optimizer = torch.optim.SparseAdam(list(model.parameters()), 0.05)
    trainer = Node2Vec(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(3, DataLoader(range(12), 4, shuffle=True, collate_fn=sample))
    return trainer
