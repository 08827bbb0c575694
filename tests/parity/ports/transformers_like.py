"""Models that return an output object with its loss, and the optimizers that come with them."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Dataset

from zae_engine.trainer import Trainer

from .parts import CPU, NoScheduler, port, tokens


class ModelOutput(OrderedDict):
    """Of transformers: a dict whose keys are attributes, and which can be indexed by position."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, key):
        return super().__getitem__(key) if isinstance(key, str) else tuple(self.values())[key]


class BatchEncoding(dict):
    """Of tokenizers: a dict with ``to``."""

    def to(self, device):
        return BatchEncoding({k: v.to(device) for k, v in self.items()})


class Config:
    hidden_size, num_labels = 8, 2


class ForClassification(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        size = config.hidden_size
        self.embeddings = nn.Embedding(11, size, padding_idx=0)
        layer = nn.TransformerEncoderLayer(size, 2, 16, 0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.LayerNorm, self.classifier = nn.LayerNorm(size), nn.Linear(size, config.num_labels)

    def forward(self, input_ids, attention_mask, labels=None):
        hidden = self.encoder(self.embeddings(input_ids), src_key_padding_mask=attention_mask == 0)
        logits = self.classifier(self.LayerNorm(hidden)[:, 0])
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return ModelOutput(loss=loss, logits=logits)


class Texts(Dataset):
    def __init__(self, n=24, seed=1):
        self.tokens = tokens(n, 8, seed=seed)

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, i):
        return {"input_ids": self.tokens[i, : 4 + i % 5], "labels": int(self.tokens[i, 0] > 6)}


def collate(samples):
    ids = nn.utils.rnn.pad_sequence([s["input_ids"] for s in samples], batch_first=True)
    labels = torch.tensor([s["labels"] for s in samples])
    return BatchEncoding(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels)


class HfTrainer(Trainer):
    def train_step(self, batch):
        outputs = self.model(**batch)
        return {"loss": outputs.loss, "output": outputs.logits.argmax(-1), "output_labels": batch["labels"]}

    test_step = train_step

    def metric_on_epoch_end(self):
        log = self.log_train if self.mode == "train" else self.log_test
        return {"accuracy": float((torch.cat(log["output"]) == torch.cat(log["output_labels"])).float().mean())}


def texts():
    train = DataLoader(Texts(), 8, shuffle=True, collate_fn=collate)
    return train, DataLoader(Texts(8, 2), 8, collate_fn=collate)


@port
def fine_tuning_with_linear_warm_up_and_groups_without_decay():
    """``get_linear_schedule_with_warmup`` per batch, decay for all but biases and norms, gradients clipped at 1."""

    def get_linear_schedule_with_warmup(optimizer, num_warmup_steps, num_training_steps):
        def lr_lambda(current_step):
            if current_step < num_warmup_steps:
                return float(current_step) / float(max(1, num_warmup_steps))
            return max(0.0, float(num_training_steps - current_step) / max(1, num_training_steps - num_warmup_steps))

        return lr_scheduler.LambdaLR(optimizer, lr_lambda)

    model = ForClassification(Config())
    no_decay = ["bias", "LayerNorm.weight"]
    named = list(model.named_parameters())
    groups = [
        {"params": [p for n, p in named if not any(nd in n for nd in no_decay)], "weight_decay": 0.01},
        {"params": [p for n, p in named if any(nd in n for nd in no_decay)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, eps=1e-8)
    scheduler = get_linear_schedule_with_warmup(optimizer, 2, 9)
    trainer = HfTrainer(
        model, CPU, "train", optimizer, scheduler, scheduler_step_on_batch=True, gradient_clip=1.0, log_bar=False
    )
    trainer.run(3, *texts())
    return trainer


class Adafactor(torch.optim.Optimizer):
    """Of transformers, in essence: a relative step, and factored second moments. ``lr`` is None."""

    def __init__(self, params, lr=None, eps=(1e-30, 1e-3), clip_threshold=1.0, decay_rate=-0.8):
        defaults = {"lr": lr, "eps": eps, "clip_threshold": clip_threshold, "decay_rate": decay_rate}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = 0
                    if p.dim() > 1:
                        state["row"], state["col"] = torch.zeros(p.shape[:-1]), torch.zeros(p.shape[:-2] + p.shape[-1:])
                    else:
                        state["square"] = torch.zeros_like(p)
                state["step"] += 1
                rms = max(group["eps"][1], p.norm().item() / math.sqrt(p.numel()))
                lr = group["lr"] or rms * min(1e-2, 1.0 / math.sqrt(state["step"]))
                beta = 1.0 - math.pow(state["step"], group["decay_rate"])
                update = p.grad.square() + group["eps"][0]
                if p.dim() > 1:
                    state["row"].mul_(beta).add_(update.mean(-1), alpha=1 - beta)
                    state["col"].mul_(beta).add_(update.mean(-2), alpha=1 - beta)
                    row = (state["row"] / state["row"].mean(-1, keepdim=True)).rsqrt().unsqueeze(-1)
                    update = row * state["col"].unsqueeze(-2).rsqrt() * p.grad
                else:
                    state["square"].mul_(beta).add_(update, alpha=1 - beta)
                    update = state["square"].rsqrt() * p.grad
                update /= (update.norm() / math.sqrt(update.numel()) / group["clip_threshold"]).clamp(min=1.0)
                p.add_(update, alpha=-lr)
        return loss


class RateUnknown(HfTrainer):
    """Leaves the rate out of the log line, which 0.7.6 could not format."""

    def print_log(self, cur_batch, num_batch):
        log = self.log_train if self.mode == "train" else self.log_test
        return {"Batch": f"{cur_batch}/{num_batch}", "loss": f"{np.mean(log['loss']):.6f}"}


@port
def adafactor_with_a_relative_step_and_no_learning_rate():
    """``lr=None`` in the parameter groups."""
    model = ForClassification(Config())
    optimizer = Adafactor(model.parameters())
    trainer = RateUnknown(model, CPU, "train", optimizer, NoScheduler(), log_bar=False)
    trainer.run(2, *texts())
    trainer.inference(texts()[1])
    return trainer


@port
def adafactor_in_an_own_run_batch():
    """The same with the whole batch in the trainer's own hands."""

    class Own(RateUnknown):
        def run_batch(self, batch, **kwargs):
            if self.mode == "test":
                return super().run_batch(batch, **kwargs)
            self.model.train()
            outputs = self.model(**batch.to(self.device[0]))
            outputs[0].backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.model.zero_grad()
            self.logging({"loss": outputs.loss, "output": outputs.logits.argmax(-1), "output_labels": batch["labels"]})
            self.progress_checker.update_step()

    model = ForClassification(Config())
    optimizer = Adafactor(model.parameters())
    trainer = Own(model, CPU, "train", optimizer, NoScheduler(), log_bar=False)
    trainer.run(2, *texts())
    return trainer


@port
def gradient_checkpointing_with_dropout():
    """``torch.utils.checkpoint`` replays the forward pass with its random state; a frozen embedding in between."""
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(ForClassification):
        def forward(self, input_ids, attention_mask, labels=None):
            hidden = self.embeddings(input_ids).requires_grad_(self.training)
            hidden = checkpoint(self.encoder, hidden, None, attention_mask == 0, use_reentrant=False)
            logits = self.classifier(self.LayerNorm(hidden).mean(1))
            return ModelOutput(loss=F.cross_entropy(logits, labels), logits=logits)

    model = Checkpointed(Config())
    model.embeddings.requires_grad_(False)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2)
    scheduler = lr_scheduler.PolynomialLR(optimizer, 3)
    trainer = HfTrainer(model, CPU, "train", optimizer, scheduler, log_bar=False)
    trainer.run(2, *texts())
    return trainer
