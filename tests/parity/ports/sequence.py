"""Sequences: teacher forcing, CTC, language models with warm-up, masks by NumPy, packed batches."""

from __future__ import annotations

import math
import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer

from .parts import CPU, constant, port, tokens


class Seq2Seq(nn.Module):
    """An encoder and a decoder by GRU, as in the tutorials."""

    def __init__(self, vocabulary=11, size=8):
        super().__init__()
        self.embed, self.dropout = nn.Embedding(vocabulary, size), nn.Dropout(0.1)
        self.encoder, self.decoder = nn.GRU(size, size, batch_first=True), nn.GRUCell(size, size)
        self.out, self.vocabulary = nn.Linear(size, vocabulary), vocabulary

    def forward(self, source, target, teacher_forcing_ratio=0.5):
        _, hidden = self.encoder(self.dropout(self.embed(source)))
        hidden, token, outputs = hidden[0], target[:, 0], []
        for t in range(1, target.shape[1]):
            hidden = self.decoder(self.dropout(self.embed(token)), hidden)
            outputs.append(self.out(hidden))
            use_teacher_forcing = random.random() < teacher_forcing_ratio
            token = target[:, t] if use_teacher_forcing else outputs[-1].argmax(1)
        return torch.stack(outputs, 1)


@port
def seq2seq_with_teacher_forcing_by_random():
    """Which token is fed is drawn by Python's `random`, seeded by nobody but the script."""

    class Translator(Trainer):
        def train_step(self, batch):
            source, target = batch
            ratio = 0.5 if self.mode == "train" else 0.0
            output = self.model(source, target, ratio)
            return {"loss": F.cross_entropy(output.flatten(0, 1), target[:, 1:].flatten(), ignore_index=0)}

        test_step = train_step

        def metric_on_epoch_end(self):
            log = self.log_train if self.mode == "train" else self.log_test
            return {"ppl": math.exp(np.mean([float(v) for v in log["loss"]]))}

    source = tokens()
    dataset = TensorDataset(source, torch.cat([torch.ones(24, 1, dtype=torch.long), source.flip(1)], 1))
    model = Seq2Seq()
    for name, param in model.named_parameters():
        nn.init.uniform_(param.data, -0.08, 0.08)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = Translator(model, CPU, "train", optimizer, constant(optimizer), gradient_clip=1.0, log_bar=False)
    trainer.run(3, DataLoader(dataset, 8, shuffle=True), DataLoader(dataset, 12))
    return trainer


@port
def ctc_with_a_collate_function_and_scheduled_sampling_decay():
    """Batches of different lengths are dicts with sizes; the loss is ``ctc_loss``."""

    def collate(samples):
        x, y = zip(*samples)
        return {
            "x": pad_sequence(x, batch_first=True),
            "y": torch.cat(y),
            "x_len": [len(v) for v in x],
            "y_len": torch.tensor([len(v) for v in y]),
        }

    class Ctc(Trainer):
        def train_step(self, batch):
            log_probs = self.model[1](self.model[0](batch["x"])[0]).log_softmax(2).transpose(0, 1)
            loss = F.ctc_loss(log_probs, batch["y"], torch.tensor(batch["x_len"]), batch["y_len"], zero_infinity=True)
            return {"loss": loss, "output": log_probs.argmax(2).T}

        test_step = train_step

    generator = torch.Generator().manual_seed(2)
    dataset = []
    for i in range(20):
        n = 6 + i % 5
        dataset.append((torch.randn(n, 5, generator=generator), torch.randint(1, 4, (2 + i % 2,), generator=generator)))
    model = nn.ModuleList([nn.LSTM(5, 8, bidirectional=True, batch_first=True), nn.Linear(16, 4)])
    optimizer = torch.optim.RMSprop(model.parameters(), 1e-2, momentum=0.5)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=20)
    trainer = Ctc(
        model, CPU, "train", optimizer, scheduler, scheduler_step_on_batch=True, gradient_clip=5.0, log_bar=False
    )
    trainer.run(
        3, DataLoader(dataset, 4, shuffle=True, collate_fn=collate), DataLoader(dataset[:6], 3, collate_fn=collate)
    )
    return trainer


class TinyTransformer(nn.Module):
    def __init__(self, vocabulary=11, size=8, length=8):
        super().__init__()
        self.embed, self.position = nn.Embedding(vocabulary, size), nn.Parameter(torch.zeros(length, size))
        layer = nn.TransformerEncoderLayer(size, 2, 16, 0.1, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(size, vocabulary, bias=False)
        self.head.weight = self.embed.weight  # tied

    def forward(self, x, causal=True):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if causal else None
        return self.head(self.body(self.embed(x) + self.position[: x.shape[1]], mask=mask))


class NoamOpt:
    """The optimizer wrapper of "The Annotated Transformer": no optimizer of torch's, and the scheduler at once."""

    def __init__(self, model_size, factor, warmup, optimizer):
        self.optimizer, self._step, self.warmup, self.factor, self.model_size = optimizer, 0, warmup, factor, model_size
        self._rate = 0

    @property
    def param_groups(self):
        return self.optimizer.param_groups

    def zero_grad(self):
        self.optimizer.zero_grad()

    def step(self):
        self._step += 1
        rate = self.rate()
        for p in self.optimizer.param_groups:
            p["lr"] = rate
        self._rate = rate
        self.optimizer.step()

    def rate(self):
        step = self._step
        return self.factor * (self.model_size ** (-0.5) * min(step ** (-0.5), step * self.warmup ** (-1.5)))


@port
def language_model_with_the_noam_optimizer():
    """Tied weights, an optimizer that is only a wrapper, and a scheduler that steps nothing."""

    class Nothing:
        def step(self):
            pass

    class Lm(Trainer):
        def train_step(self, batch):
            output = self.model(batch[:, :-1])
            return {"loss": F.cross_entropy(output.flatten(0, 1), batch[:, 1:].flatten(), label_smoothing=0.1)}

        test_step = train_step

    model = TinyTransformer()
    optimizer = NoamOpt(8, 1, 10, torch.optim.Adam(model.parameters(), lr=0, betas=(0.9, 0.98), eps=1e-9))
    trainer = Lm(model, CPU, "train", optimizer, Nothing(), log_bar=False)
    dataset = TensorDataset(tokens(length=8))
    trainer.run(2, DataLoader(dataset, 8, shuffle=True), DataLoader(dataset, 8))
    trainer.extra = [optimizer.optimizer, optimizer._step]
    return trainer


@port
def masked_language_model_with_masks_by_numpy_in_the_collate_function():
    """Eighty per cent are masked, ten random, ten kept; parameters with and without weight decay."""

    def collate(samples):
        x = np.stack([s.numpy() for s in samples])
        chosen = np.random.rand(*x.shape) < 0.3
        chosen[:, 0] = True
        masked, draw = x.copy(), np.random.rand(*x.shape)
        masked[chosen & (draw < 0.8)] = 1
        other = chosen & (draw >= 0.9)
        masked[other] = np.random.randint(3, 11, other.sum())
        return torch.from_numpy(masked), torch.from_numpy(np.where(chosen, x, -100))

    class Mlm(Trainer):
        def train_step(self, batch):
            x, labels = batch
            return {"loss": F.cross_entropy(self.model(x, causal=False).flatten(0, 1), labels.flatten())}

        test_step = train_step

    model = TinyTransformer()
    no_decay = ["bias", "norm"]
    groups = [
        {"params": [p for n, p in model.named_parameters() if not any(k in n for k in no_decay)], "weight_decay": 0.1},
        {"params": [p for n, p in model.named_parameters() if any(k in n for k in no_decay)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-2)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda s: min((s + 1) / 3, max(0.0, (9 - s) / 6)))
    trainer = Mlm(
        model, CPU, "train", optimizer, scheduler, scheduler_step_on_batch=True, gradient_clip=1.0, log_bar=False
    )
    loader = DataLoader(list(tokens()), 8, shuffle=True, collate_fn=collate)
    trainer.run(2, loader, DataLoader(list(tokens(8, seed=2)), 8, collate_fn=collate))
    return trainer


@port
def tagger_over_packed_sequences_sorted_by_length():
    """Sequences are sorted, packed and padded; the embedding's gradient is sparse and has an optimizer for it."""

    class Tagger(Trainer):
        def train_step(self, batch):
            x, lengths, tags = batch
            lengths, order = lengths.sort(descending=True)
            packed = pack_padded_sequence(self.model["embed"](x[order]), lengths.cpu(), batch_first=True)
            hidden, _ = pad_packed_sequence(self.model["rnn"](packed)[0], batch_first=True)
            scores = self.model["out"](hidden)
            target = tags[order][:, : scores.shape[1]]
            return {"loss": F.cross_entropy(scores.flatten(0, 1), target.flatten(), ignore_index=-1)}

        test_step = train_step

    def collate(samples):
        x, y = zip(*samples)
        return pad_sequence(x, True), torch.tensor([len(v) for v in x]), pad_sequence(y, True, -1)

    dataset = [(t[: 3 + i % 5], t[: 3 + i % 5] % 3) for i, t in enumerate(tokens())]
    model = nn.ModuleDict(
        {"embed": nn.Embedding(11, 6, sparse=True), "rnn": nn.LSTM(6, 8, batch_first=True), "out": nn.Linear(8, 3)}
    )

    class MultipleOptimizer:
        """OpenNMT's: several optimizers as if they were one."""

        def __init__(self, *op):
            self.optimizers = op

        @property
        def param_groups(self):
            return [group for op in self.optimizers for group in op.param_groups]

        def zero_grad(self):
            for op in self.optimizers:
                op.zero_grad()

        def step(self):
            for op in self.optimizers:
                op.step()

    dense = [*model["rnn"].parameters(), *model["out"].parameters()]
    optimizer = MultipleOptimizer(
        torch.optim.SparseAdam(list(model["embed"].parameters()), 1e-2), torch.optim.Adam(dense, 1e-2)
    )
    scheduler = constant(optimizer.optimizers[1])
    trainer = Tagger(model, CPU, "train", optimizer, scheduler, log_bar=False)
    trainer.run(
        2, DataLoader(dataset, 6, shuffle=True, collate_fn=collate), DataLoader(dataset, 12, collate_fn=collate)
    )
    trainer.extra = list(optimizer.optimizers)
    return trainer
