import pytest
import torch
from zae_lightning.closures import requires_closure


class Asserts(torch.optim.SGD):
    @torch.no_grad()
    def step(self, closure=None):
        assert closure is not None, "needs a closure"
        closure = torch.enable_grad()(closure)
        closure()


class Raises(torch.optim.SGD):
    def step(self, closure=None):
        if closure is None:
            raise RuntimeError("no closure")
        closure()


class Calls(torch.optim.SGD):
    def step(self, closure=None):
        with torch.enable_grad():
            loss = closure()
        return loss


class Decorates(torch.optim.SGD):
    def step(self, closure=None):
        closure = torch.enable_grad()(closure)
        return closure()


class Guards(torch.optim.SGD):
    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        return loss


class GuardsOtherwise(torch.optim.SGD):
    def step(self, closure=None):
        loss = closure() if closure is not None else None
        if not closure:
            return loss
        return closure()


class Delegates(torch.optim.SGD):
    def step(self, closure=None):
        for _ in range(1):
            super().step(closure)


class Replaces(torch.optim.SGD):
    def step(self, closure=None):
        if closure is None:
            closure = lambda: None  # noqa: E731
        return closure()


class HasNone(torch.optim.SGD):
    def step(self):
        super().step()


def made(cls):
    return cls([torch.nn.Parameter(torch.ones(1))], lr=0.1)


@pytest.mark.parametrize("cls", [torch.optim.LBFGS, Asserts, Raises, Calls, Decorates])
def test_an_optimizer_whose_step_fails_without_a_closure_needs_one(cls):
    assert requires_closure(made(cls))


@pytest.mark.parametrize(
    "cls", [torch.optim.SGD, torch.optim.Adam, Guards, GuardsOtherwise, Delegates, Replaces, HasNone]
)
def test_an_optimizer_that_steps_without_a_closure_gets_none(cls):
    assert not requires_closure(made(cls))


def test_code_that_cannot_be_read_is_given_a_closure():
    cls = type("Hidden", (torch.optim.SGD,), {})
    exec("def step(self, closure=None):\n    pass\ncls.step = step", {"cls": cls})
    assert requires_closure(made(cls))
