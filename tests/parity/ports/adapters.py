"""Adapters: low-rank updates, prompts and prefixes beside a frozen model."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from zae_engine.trainer import Trainer

from .parts import CPU, Classifier, constant, loaders, mlp, points, port


class LoraLinear(nn.Module):
    """A linear layer with a low-rank update, merged in eval mode as loralib does."""

    def __init__(self, base, r=2, alpha=4, dropout=0.1):
        super().__init__()
        self.base, self.scaling, self.dropout = base.requires_grad_(False), alpha / r, nn.Dropout(dropout)
        self.lora_A, self.lora_B = (
            nn.Parameter(torch.empty(r, base.in_features)),
            nn.Parameter(torch.zeros(base.out_features, r)),
        )
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        if mode == self.merged:
            self.base.weight.data += (-1 if mode else 1) * (self.lora_B @ self.lora_A) * self.scaling
            self.merged = not mode
        return self

    def forward(self, x):
        out = self.base(x)
        return out if self.merged else out + self.dropout(x) @ self.lora_A.T @ self.lora_B.T * self.scaling


@port
def lora_that_merges_its_weights_in_eval_mode():
    """``model.eval()`` adds the update to the frozen weights and ``model.train()`` takes it away, bit for bit."""
    model = mlp()
    for i in (0, 2):
        model[i] = LoraLinear(model[i])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-2)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, 18)
    trainer = Classifier(
        model, CPU, "train", optimizer, scheduler, scheduler_step_on_batch=True, gradient_clip=1.0, log_bar=False
    )
    train, valid = loaders()
    trainer.run(3, train, valid)
    trainer.inference(valid)
    return trainer


@port
def lora_parameters_in_a_dict_applied_by_forward_hooks():
    """The base model is untouched and frozen; updates lie in a dict and come in by hooks of the layers."""
    model = mlp().requires_grad_(False)
    lora = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            a = (torch.randn(2, layer.in_features) * 0.1).requires_grad_()
            b = torch.zeros(layer.out_features, 2, requires_grad=True)
            lora[name] = a, b
            layer.register_forward_hook(lambda m, args, out, a=a, b=b: out + args[0] @ a.T @ b.T)
    optimizer = torch.optim.Adam([p for pair in lora.values() for p in pair], lr=1e-2)
    trainer = Classifier(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(2, *loaders())
    trainer.extra = lora
    return trainer


@port
def soft_prompts_in_a_plain_object_before_a_frozen_transformer():
    """Prompt tuning: the prompts lie in an object of the trainer's that is no module."""

    class Prompts:
        def __init__(self, n, size):
            self.embeddings = torch.nn.init.uniform_(torch.empty(n, size), -0.5, 0.5).requires_grad_()

        def prepend(self, x):
            return torch.cat([self.embeddings.expand(len(x), -1, -1), x], 1)

    class PromptTuning(Trainer):
        def train_step(self, batch):
            x, y = batch
            hidden = self.model["body"](self.prompts.prepend(x.view(len(x), 2, 5) @ self.lift))
            return {"loss": F.cross_entropy(self.model["head"](hidden[:, 0]), y)}

        test_step = train_step

    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.1, batch_first=True)
    model = nn.ModuleDict(
        {"body": nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), "head": nn.Linear(8, 2)}
    )
    model.requires_grad_(False)
    prompts = Prompts(3, 8)
    optimizer = torch.optim.AdamW([prompts.embeddings], lr=0.3, weight_decay=1e-5)
    trainer = PromptTuning(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.prompts, trainer.lift = prompts, torch.randn(5, 8)
    trainer.run(3, DataLoader(points(), 8, shuffle=True), DataLoader(points(16, 2), 8))
    trainer.extra = [prompts.embeddings, optimizer]
    return trainer


@port
def adapters_exchanged_between_runs_on_one_backbone():
    """Each task has an adapter and an optimizer; trainer.optimizer and scheduler are set between runs."""

    class Adapted(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.adapters, self.active = mlp(10, 8).requires_grad_(False), nn.ModuleDict(), None
            self.head = nn.Linear(8, 2)

        def forward(self, x):
            h = self.backbone(x)
            return self.head(h + self.adapters[self.active](h))

    model = Adapted()
    trainer = Classifier(model, CPU, "train", None, None, log_bar=False)
    for i, task in enumerate(("a", "b", "a")):
        if task not in model.adapters:
            model.adapters[task] = mlp(8, 8, 3)
        model.active = task
        trainer.optimizer = torch.optim.Adam([*model.adapters[task].parameters(), *model.head.parameters()], lr=1e-2)
        trainer.scheduler = lr_scheduler.StepLR(trainer.optimizer, 1, 0.5)
        trainer.run(2, DataLoader(points(32, i), 8, shuffle=True), DataLoader(points(16, i + 5), 8))
    return trainer
