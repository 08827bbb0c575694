"""Recurrent networks over long sequences: truncated backpropagation, states that are carried on."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer

from .parts import CPU, constant, port, tokens


class CharRnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.out = (
            nn.Embedding(11, 6),
            nn.LSTM(6, 8, 2, dropout=0.2, batch_first=True),
            nn.Linear(8, 11),
        )

    def forward(self, x, hidden=None):
        output, hidden = self.rnn(self.embed(x), hidden)
        return self.out(output), hidden


def repackage_hidden(h):
    """Of PyTorch's word language model."""
    return h.detach() if isinstance(h, torch.Tensor) else tuple(repackage_hidden(v) for v in h)


@port
def truncated_backpropagation_with_an_update_for_each_part_of_a_batch():
    """``run_batch`` cuts the batch in time and calls ``super().run_batch`` for each part."""

    class Tbptt(Trainer):
        bptt = 5

        def run_batch(self, batch, **kwargs):
            (x,) = batch
            self.hidden = None
            for i in range(0, x.shape[1] - 1, self.bptt):
                n = min(self.bptt, x.shape[1] - 1 - i)
                super().run_batch((x[:, i : i + n], x[:, i + 1 : i + 1 + n]), **kwargs)

        def train_step(self, batch):
            x, y = batch
            if self.hidden is not None:
                self.hidden = repackage_hidden(self.hidden)
            output, self.hidden = self.model(x, self.hidden)
            return {"loss": F.cross_entropy(output.flatten(0, 1), y.flatten())}

        test_step = train_step

    model = CharRnn()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = Tbptt(
        model, CPU, "train", optimizer, lr_scheduler.StepLR(optimizer, 1, 0.5), gradient_clip=0.25, log_bar=False
    )
    dataset = TensorDataset(tokens(16, 18))
    trainer.run(2, DataLoader(dataset, 8, shuffle=True), DataLoader(dataset, 8))
    return trainer


@port
def stateful_lstm_whose_state_is_carried_over_batches():
    """The loader is a list of consecutive chunks; the state lies on the trainer and is reset with the log."""

    class Chunks(list):
        batch_size = 1

        @property
        def dataset(self):
            return self

    class Stateful(Trainer):
        hidden = None

        def log_reset(self, epoch_end=False):
            super().log_reset(epoch_end)
            self.hidden = None

        def train_step(self, batch):
            output, hidden = self.model(batch[0], self.hidden)
            self.hidden = tuple(h.detach() for h in hidden)
            return {"loss": F.cross_entropy(output.flatten(0, 1), batch[1].flatten()), "norm": self.hidden[0].norm()}

        test_step = train_step

        def check_better(self, cur_epoch, cur_loss):
            better = super().check_better(cur_epoch, cur_loss)
            if not better:  # PyTorch's example anneals where nothing gets better
                for group in self.optimizer.param_groups:
                    group["lr"] /= 4.0
            return better

    text = tokens(4, 25)
    chunks = Chunks((text[:, i : i + 6], text[:, i + 1 : i + 7]) for i in range(0, 24, 6))
    model = CharRnn()
    optimizer = torch.optim.SGD(model.parameters(), 5.0)
    trainer = Stateful(model, CPU, "train", optimizer, constant(optimizer), gradient_clip=0.25, log_bar=False)
    trainer.run(3, chunks, chunks)
    trainer.extra = trainer.hidden
    return trainer


@port
def accumulated_parts_with_a_graph_that_is_kept():
    """The backward pass of each part is run in ``train_step`` with ``retain_graph``; the last one by the trainer."""

    class Retaining(Trainer):
        def train_step(self, batch):
            (x,) = batch
            memory = self.model.embed(x[:, :4])
            output, hidden = self.model.rnn(memory)
            first = F.cross_entropy(self.model.out(output).flatten(0, 1), x[:, 1:5].flatten())
            if self.mode == "train":
                first.backward(retain_graph=True)
            output, _ = self.model(x[:, 4:-1], hidden)
            return {"loss": F.cross_entropy(output.flatten(0, 1), x[:, 5:].flatten()), "first": first}

        test_step = train_step

    model = CharRnn()
    optimizer = torch.optim.Adagrad(model.parameters(), 0.05)
    trainer = Retaining(model, CPU, "train", optimizer, constant(optimizer), gradient_clip=1.0, log_bar=False)
    # 0.7.6 gives a batch of one element as that element, so that the sequence comes with something beside it.
    dataset = TensorDataset(tokens(16, 10), torch.zeros(16))

    def first_only(batch):
        return (batch[0],)

    step = trainer.train_step
    trainer.train_step = trainer.test_step = lambda batch: step(first_only(batch))
    trainer.run(2, DataLoader(dataset, 8, shuffle=True), DataLoader(dataset, 8))
    return trainer
