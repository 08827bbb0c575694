import pytest
from torch import nn

from zae_engine.trainer.loops.module_modes import ModuleModes

TRAINS, DROPOUT_OFF, EVALUATES = [True, True, True], [True, True, False], [False, False, False]


@pytest.fixture
def net():
    return nn.Sequential(nn.Linear(2, 2), nn.Dropout())


@pytest.fixture
def modes(net):
    made = ModuleModes()
    made.start(net, "train")
    return made


def flags(module):
    return [part.training for part in module.modules()]


def step(modes, net, mode):
    """Return the modes that a step has."""
    with modes.user_code(net):
        modes.set_mode(net, mode)
        return flags(net)


def test_what_a_callback_sets_holds(net, modes):
    net[1].eval()
    assert step(modes, net, "train") == step(modes, net, "train") == DROPOUT_OFF
    net[1].train()
    assert step(modes, net, "train") == TRAINS


def test_what_the_users_methods_set_is_theirs_alone(net, modes):
    with modes.user_code(net):
        net.eval()
    assert flags(net) == TRAINS
    with modes.user_code(net):
        assert flags(net) == EVALUATES
    assert step(modes, net, "train") == TRAINS


def test_callbacks_see_eval_mode_in_a_validation_and_the_users_methods_that_of_the_latest_step(net, modes):
    step(modes, net, "train")
    modes.enter_evaluation(net, net)
    assert flags(net) == EVALUATES
    with modes.user_code(net):
        assert flags(net) == TRAINS
    assert step(modes, net, "test") == EVALUATES
    modes.leave_evaluation()
    assert flags(net) == TRAINS
    with modes.user_code(net):
        assert flags(net) == EVALUATES


def test_a_callback_keeps_dropout_on_in_a_validation(net, modes):
    modes.enter_evaluation(net, net)
    net[1].train()
    assert step(modes, net, "test") == [False, False, True]


def test_a_step_of_the_other_phase_sets_its_mode(net, modes):
    net[1].eval()
    assert step(modes, net, "test") == EVALUATES
    assert step(modes, net, "train") == DROPOUT_OFF


def test_a_run_leaves_the_users_modes_and_the_next_one_continues_with_those_of_callbacks(net, modes):
    net[1].eval()
    step(modes, net, "train")
    modes.enter_evaluation(net, net)
    step(modes, net, "test")
    modes.leave_evaluation()
    modes.finish(keeps_users=True)
    assert flags(net) == EVALUATES
    modes.start(net, "train")
    assert flags(net) == DROPOUT_OFF


def test_an_own_trainer_leaves_the_modes_of_callbacks(net, modes):
    net[1].eval()
    step(modes, net, "train")
    modes.finish(keeps_users=False)
    assert flags(net) == DROPOUT_OFF


def test_an_exception_in_a_validation_does_not_keep_the_next_run_in_eval_mode(net, modes):
    modes.enter_evaluation(net, net)
    modes.finish(keeps_users=True)
    modes.start(net, "train")
    assert step(modes, net, "train") == TRAINS


def test_a_model_in_eval_mode_is_trained_in_train_mode_and_one_in_train_mode_keeps_its_parts(net):
    net.eval()
    modes = ModuleModes()
    modes.start(net, "train")
    assert step(modes, net, "train") == TRAINS
    net.train()
    net[1].eval()
    modes.start(net, "train")
    assert step(modes, net, "train") == DROPOUT_OFF


def test_another_model_has_its_own_modes(net, modes):
    wrapper = nn.Sequential(net, nn.Dropout())
    assert step(modes, wrapper, "train") == [True] * 5
    assert step(modes, wrapper, "test") == [False] * 5
