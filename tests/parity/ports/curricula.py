"""Curricula: loaders, datasets and samplers that change while the run goes on."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Sampler, Subset, TensorDataset, WeightedRandomSampler

from zae_engine.trainer import Trainer

from .parts import CPU, Classifier, constant, images, loaders, mlp, points, port


@port
def curriculum_that_gives_each_epoch_another_loader():
    """``run_epoch`` chooses the easy samples first, and hands a loader of its own to ``super()``."""

    class Curriculum(Classifier):
        def run_epoch(self, loader, **kwargs):
            if self.mode == "train":
                x = loader.dataset.tensors[0]
                n = min(len(x), 16 * self.progress_checker.get_epoch())
                order = x.norm(dim=1).argsort()[:n].tolist()
                loader = DataLoader(Subset(loader.dataset, order), loader.batch_size, shuffle=True)
                self.n_data = n
            super().run_epoch(loader, **kwargs)

    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = Curriculum(model, CPU, "train", optimizer, lr_scheduler.StepLR(optimizer, 1, 0.8), log_bar=False)
    trainer.run(4, *loaders())
    return trainer


@port
def progressive_resizing_by_an_attribute_of_the_dataset():
    """The dataset's ``size`` is raised in ``check_better``, after which its samples are larger."""

    class Resized(Dataset):
        size = 4

        def __init__(self):
            self.x, self.y = images().tensors

        def __len__(self):
            return len(self.x)

        def __getitem__(self, i):
            return F.interpolate(self.x[i][None], size=(self.size, self.size))[0], self.y[i]

    class Progressive(Classifier):
        def check_better(self, cur_epoch, cur_loss):
            self.loader.dataset.size = min(8, self.loader.dataset.size + 2)
            return super().check_better(cur_epoch, cur_loss)

    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    trainer = Progressive(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(3, DataLoader(Resized(), 8, shuffle=True))
    return trainer


@port
def pseudo_labels_added_to_the_training_set_between_runs():
    """After each run the confident predictions of ``inference`` become data of the next one."""

    class PseudoLabel(Classifier):
        def test_step(self, batch):
            output = self.model(batch[0])
            return {"loss": F.cross_entropy(output, batch[1]), "output": output.softmax(1)}

    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = PseudoLabel(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    labelled, unlabelled = points(16), points(40, 7)
    dataset, sizes = labelled, []
    for _ in range(3):
        trainer.run(2, DataLoader(dataset, 8, shuffle=True), DataLoader(points(20, 2), 10))
        scores = torch.cat(trainer.inference(DataLoader(unlabelled, 16)))
        confidence, label = scores.max(1)
        chosen = confidence > confidence.median()
        dataset = ConcatDataset([labelled, TensorDataset(unlabelled.tensors[0][chosen], label[chosen])])
        sizes.append(len(dataset))
    trainer.extra = sizes
    return trainer


@port
def hard_examples_drawn_by_weights_that_the_losses_set():
    """The sampler's weights are written in ``logging``, in the midst of the epoch, and count from the next one."""

    class Indexed(Dataset):
        def __init__(self):
            self.x, self.y = points().tensors

        def __len__(self):
            return len(self.x)

        def __getitem__(self, i):
            return {"x": self.x[i], "y": self.y[i], "index": i}

    class HardExamples(Trainer):
        def train_step(self, batch):
            losses = F.cross_entropy(self.model(batch["x"]), batch["y"], reduction="none")
            return {"loss": losses.mean(), "output_losses": losses.detach(), "output_index": batch["index"]}

        test_step = train_step

        def logging(self, step_dict):
            super().logging(step_dict)
            if self.mode == "train":
                self.sampler.weights[step_dict["output_index"]] = step_dict["output_losses"].double()

        def metric_on_epoch_end(self):
            return {"max": float(self.sampler.weights.max())}

    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = HardExamples(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.sampler = WeightedRandomSampler(torch.ones(48, dtype=torch.double), 48)
    trainer.run(3, DataLoader(Indexed(), 8, sampler=trainer.sampler), DataLoader(Indexed(), 16))
    trainer.extra = trainer.sampler.weights
    return trainer


@port
def active_learning_whose_pool_shrinks_in_the_metric():
    """``metric_on_epoch_end`` moves the least certain samples from the pool into the loader's index list."""

    class Pool(Sampler):
        def __init__(self, labelled):
            self.labelled = labelled

        def __len__(self):
            return len(self.labelled)

        def __iter__(self):
            return iter(np.random.permutation(self.labelled).tolist())

    class Active(Classifier):
        def metric_on_epoch_end(self):
            if self.mode == "test":
                return {}
            pool = np.setdiff1d(np.arange(48), self.loader.sampler.labelled)
            self.model.eval()
            with torch.no_grad():
                p = self.model(self.loader.dataset.tensors[0][pool]).softmax(1)
            entropy = -(p * p.log()).sum(1)
            self.loader.sampler.labelled += pool[entropy.topk(5).indices.numpy()].tolist()
            return {"labelled": float(len(self.loader.sampler.labelled))}

    dataset = points()
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    trainer = Active(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(4, DataLoader(dataset, 4, sampler=Pool([3, 14, 15, 35, 41, 20])), loaders()[1])
    trainer.extra = trainer.loader.sampler.labelled
    return trainer


@port
def layers_unfrozen_one_after_the_other_with_new_parameter_groups():
    """Gradual unfreezing: ``add_param_group`` in the midst of a run; the scheduler is made anew with it."""

    class Unfreezing(Classifier):
        def check_better(self, cur_epoch, cur_loss):
            better = super().check_better(cur_epoch, cur_loss)
            if cur_epoch < 2:
                layer = self.model[2 - 2 * cur_epoch]
                for p in layer.parameters():
                    p.requires_grad = True
                self.optimizer.add_param_group({"params": layer.parameters(), "lr": 0.02 / 2.6**cur_epoch})
                self.scheduler = lr_scheduler.ExponentialLR(self.optimizer, 0.9)
            return better

    model = nn.Sequential(nn.Linear(10, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 2))
    for p in model[:4].parameters():
        p.requires_grad = False
    optimizer = torch.optim.Adam(model[4].parameters(), 0.05)
    trainer = Unfreezing(model, CPU, "train", optimizer, lr_scheduler.ExponentialLR(optimizer, 0.9), log_bar=False)
    trainer.run(4, *loaders())
    return trainer
