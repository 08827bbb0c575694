import torch
from lightning.pytorch.callbacks import Callback
from zae_lightning.gradient_clearing import KeptGradients, sees_gradients


class Looks(Callback):
    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        pass


def with_gradient(cls=torch.optim.SGD):
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.full((2,), 3.0)
    return parameter, cls([parameter], lr=0.1)


def test_only_callbacks_with_the_hook_see_gradients():
    assert sees_gradients([Callback(), Looks()])
    assert not sees_gradients([Callback()])


def test_gradients_come_back_and_are_cleared_afterwards():
    parameter, optimizer = with_gradient()
    kept = KeptGradients(optimizer)
    optimizer.zero_grad()
    clear = kept.show()
    assert parameter.grad.tolist() == [3.0, 3.0]
    clear()
    assert parameter.grad is None


def test_gradients_that_the_step_has_computed_stay():
    parameter, optimizer = with_gradient()
    kept = KeptGradients(optimizer)
    optimizer.zero_grad()
    parameter.sum().backward()
    assert kept.show() is None
    assert parameter.grad.tolist() == [1.0, 1.0]


def test_an_optimizer_that_clears_in_its_own_way_keeps_nothing():
    class Zeroes(torch.optim.SGD):
        def zero_grad(self, set_to_none=False):
            super().zero_grad(set_to_none=False)

    parameter, optimizer = with_gradient(Zeroes)
    kept = KeptGradients(optimizer)
    optimizer.zero_grad()
    assert kept.show() is None
    assert parameter.grad.tolist() == [0.0, 0.0]
