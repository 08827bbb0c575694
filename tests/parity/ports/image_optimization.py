"""What is trained is no network: images, codes, cameras, patches, which may lie anywhere."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.trainer import Trainer

from .parts import CPU, NoScheduler, constant, images, mlp, port

input_img = torch.zeros(1, 1, 8, 8)
"""The image of the style transfer, a global as in PyTorch's tutorial."""


def features():
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1))
    return net.requires_grad_(False).eval()


def gram_matrix(x):
    f = x.flatten(2)[0]
    return f @ f.T / f.numel()


@port
def style_transfer_of_an_image_that_is_a_global():
    """Adam trains a global image; the network's parameters are frozen, and none is in the optimizer."""
    global input_img
    content, style = (images(2).tensors[0][i : i + 1] for i in range(2))
    input_img = content.clone().requires_grad_(True)

    class StyleTransfer(Trainer):
        def train_step(self, batch):
            with torch.no_grad():
                input_img.clamp_(0, 1)
            f = self.model(input_img)
            style_score = 1e3 * F.mse_loss(gram_matrix(f), gram_matrix(self.model(style)))
            content_score = F.mse_loss(f, self.model(content))
            return {"loss": style_score + content_score, "style": style_score, "content": content_score}

        test_step = train_step

    optimizer = torch.optim.Adam([input_img], lr=0.05)
    trainer = StyleTransfer(features(), CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(2, DataLoader(range(5), 1))
    trainer.extra = input_img
    return trainer


@port
def style_transfer_with_lbfgs_and_a_closure():
    """PyTorch's tutorial: LBFGS calls a closure several times; ``run_batch`` is the whole step."""
    content, style = (images(2).tensors[0][i : i + 1] for i in range(2))
    image = nn.Parameter(content.clone())

    class StyleTransfer(Trainer):
        def run_batch(self, batch, **kwargs):
            seen = []

            def closure():
                with torch.no_grad():
                    image.clamp_(0, 1)
                self.optimizer.zero_grad()
                self.model.zero_grad()
                f = self.model(image)
                loss = 1e3 * F.mse_loss(gram_matrix(f), gram_matrix(self.model(style))) + F.mse_loss(
                    f, self.model(content)
                )
                loss.backward()
                seen.append(loss.item())
                return loss

            self.optimizer.step(closure)
            self.logging({"loss": torch.tensor(seen).mean(), "calls": len(seen)})
            self.progress_checker.update_step()

        def train_step(self, batch): ...

        def test_step(self, batch): ...

    optimizer = torch.optim.LBFGS([image], max_iter=4)
    trainer = StyleTransfer(features(), CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(2, DataLoader(range(3), 1))
    trainer.extra = image
    return trainer


@port
def deep_dream_that_moves_the_image_by_hand():
    """No optimizer does anything: the image is moved along its normalised gradient, rolled by random jitter."""

    class Dream(Trainer):
        def run_batch(self, batch, **kwargs):
            ox, oy = torch.randint(-2, 3, (2,)).tolist()
            dream = self.image.roll((ox, oy), (2, 3)).detach().requires_grad_()
            loss = self.model(dream).square().mean()
            loss.backward()
            with torch.no_grad():
                dream += 0.05 * dream.grad / dream.grad.abs().mean()
            self.image = dream.detach().roll((-ox, -oy), (2, 3))
            self.logging({"loss": loss})
            self.progress_checker.update_step()

        def train_step(self, batch): ...

        def test_step(self, batch): ...

    trainer = Dream(features(), CPU, "train", None, NoScheduler(), log_bar=False)
    trainer.image = images(1).tensors[0]
    trainer.run(2, DataLoader(range(4), 1))
    trainer.extra = trainer.image
    return trainer


class Codes:
    """The latent codes of an auto-decoder in a plain object, which knows nothing of modules."""

    def __init__(self, n, size):
        self.latents = [(torch.randn(size) * 0.01).requires_grad_(True) for _ in range(n)]

    def __call__(self, index):
        return torch.stack([self.latents[i] for i in index.tolist()])


def shapes(n=12):
    generator = torch.Generator().manual_seed(4)
    xyz = torch.rand(n, 6, 3, generator=generator) * 2 - 1
    radius = torch.rand(n, 1, generator=generator) * 0.5 + 0.3
    return TensorDataset(torch.arange(n), xyz, xyz.norm(dim=2) - radius)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp(3 + 4, 1)

    def forward(self, code, xyz):
        return self.body(torch.cat([code[:, None].expand(-1, xyz.shape[1], -1), xyz], 2)).squeeze(2).tanh()


@port
def auto_decoder_with_codes_in_a_plain_object():
    """DeepSDF: decoder and codes in two groups; a step schedule is computed by hand at the start of each epoch."""

    class DeepSdf(Trainer):
        def log_reset(self, epoch_end=False):
            super().log_reset(epoch_end)
            if self.mode == "train":
                for group, initial in zip(self.optimizer.param_groups, (5e-3, 1e-2)):
                    group["lr"] = initial * 0.5 ** (self.progress_checker.get_epoch() // 2)

        def train_step(self, batch):
            index, xyz, sdf = batch
            code = codes(index)
            reconstruction = F.l1_loss(self.model(code, xyz), sdf.clamp(-0.5, 0.5))
            return {"loss": reconstruction + 1e-4 * code.norm(dim=1).mean(), "reconstruction": reconstruction}

        test_step = train_step

    codes = Codes(12, 4)
    model = Decoder()
    optimizer = torch.optim.Adam([{"params": model.parameters(), "lr": 5e-3}, {"params": codes.latents, "lr": 1e-2}])
    trainer = DeepSdf(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(3, DataLoader(shapes(), 4, shuffle=True))
    trainer.extra = codes.latents
    return trainer


@port
def new_codes_fitted_to_a_decoder_that_stays():
    """Inference of an auto-decoder: the codes alone are trained, and lie in a plain object of the trainer's."""

    class Fit(Trainer):
        def train_step(self, batch):
            index, xyz, sdf = batch
            return {"loss": F.l1_loss(self.model(self.codes(index), xyz), sdf)}

        test_step = train_step

    codes = Codes(12, 4)
    model = Decoder()
    optimizer = torch.optim.Adam(codes.latents, lr=1e-2)
    trainer = Fit(model, CPU, "train", optimizer, lr_scheduler.StepLR(optimizer, 1, 0.5), log_bar=False)
    trainer.codes = codes
    trainer.run(3, DataLoader(shapes(), 4, shuffle=True), DataLoader(shapes(), 6))
    trainer.extra = codes.latents
    return trainer


@port
def field_and_camera_poses_with_a_scheduler_for_each_optimizer():
    """BARF: the trainer's scheduler belongs to the poses' optimizer, which lies in a dict of the script."""

    class Barf(Trainer):
        def run_batch(self, batch, **kwargs):
            if self.mode == "train":
                optims["pose"].zero_grad()
            super().run_batch(batch, **kwargs)
            if self.mode == "train":
                optims["pose"].step()
                schedulers["field"].step()

        def train_step(self, batch):
            index, xyz, sdf = batch
            return {"loss": F.mse_loss(self.model(xyz + poses[index][:, None])[..., 0], sdf)}

        test_step = train_step

    poses = torch.zeros(12, 3, requires_grad=True)
    model = mlp(3, 1)
    optims = {"field": torch.optim.Adam(model.parameters(), 1e-2), "pose": torch.optim.Adam([poses], 3e-3)}
    schedulers = {name: lr_scheduler.ExponentialLR(o, 0.9) for name, o in optims.items()}
    trainer = Barf(model, CPU, "train", optims["field"], schedulers["pose"], log_bar=False)
    trainer.run(3, DataLoader(shapes(), 4, shuffle=True), DataLoader(shapes(), 6))
    trainer.extra = [poses, optims, {k: s.state_dict()["last_epoch"] for k, s in schedulers.items()}]
    return trainer


@port
def adversarial_patch_against_a_frozen_classifier():
    """The patch is a parameter in a closure's dict; the gradient is ascended by ``maximize``."""

    class Patch(Trainer):
        def train_step(self, batch):
            x, y = batch
            patched = x.clone()
            i, j = torch.randint(0, 5, (2,)).tolist()
            patched[:, :, i : i + 3, j : j + 3] = state["patch"].tanh()
            output = self.model(patched).mean((2, 3))[:, :3]
            return {"loss": F.cross_entropy(output, y)}

        test_step = train_step

    state = {"patch": nn.Parameter(torch.zeros(1, 3, 3))}
    model = features()
    optimizer = torch.optim.SGD([state["patch"]], 0.5, maximize=True)
    trainer = Patch(model, CPU, "train", optimizer, constant(optimizer), log_bar=False)
    trainer.run(2, DataLoader(images(), 8, shuffle=True), DataLoader(images(8, 2), 4))
    trainer.extra = state
    return trainer
