import torch
from torch.nn.utils import prune

from zae_engine.trainer.checkpoint.pruning import for_pruned_model, without_pruning
from zae_engine.trainer.checkpoint.weights import clone_state_dict


def pruned():
    model = torch.nn.Linear(4, 2)
    prune.l1_unstructured(model, "weight", amount=0.5)
    return model


def test_a_pruned_model_has_effective_weights_that_a_fresh_model_loads():
    model = pruned()
    state = without_pruning(clone_state_dict(model))
    assert set(state) == {"weight", "bias"}
    assert torch.equal(state["weight"], model.weight)
    torch.nn.Linear(4, 2).load_state_dict(state)


def test_a_model_that_is_not_pruned_keeps_its_dictionary():
    state = torch.nn.Linear(4, 2).state_dict()
    assert without_pruning(state) is state
    own = {"weight_orig": torch.ones(1), "bias": torch.ones(1)}
    assert without_pruning(dict(own)) == own


def test_a_pruned_model_loads_effective_weights():
    first, second = pruned(), pruned()
    second.load_state_dict(for_pruned_model(second, without_pruning(clone_state_dict(first))))
    assert torch.equal(second.weight_orig * second.weight_mask, first.weight)


def test_another_model_loads_the_state_itself():
    state = torch.nn.Linear(4, 2).state_dict()
    assert for_pruned_model(torch.nn.Linear(4, 2), state) is state
