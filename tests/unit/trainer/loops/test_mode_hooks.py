from types import SimpleNamespace

import torch

from zae_engine.trainer._state import TrainerState
from zae_engine.trainer.loops.mode_hooks import ModeHooks


class Following(ModeHooks):
    follows_lightning = True


def hooks(cls):
    made = cls()
    made.trainer = SimpleNamespace(_zae_state=TrainerState(), model=torch.nn.Dropout(), mode="train")
    return made


def test_a_trainer_alone_sets_its_modes_itself():
    alone = hooks(ModeHooks)
    alone.enter_loop()
    assert alone.trainer._zae_state.run.modes is None
    alone.enter_evaluation(alone.trainer.model)
    assert alone.trainer.model.training
    with alone.user_code():
        pass


def test_with_a_part_the_modes_are_lightnings_until_the_run_ends():
    following = hooks(Following)
    state, model = following.trainer._zae_state, following.trainer.model
    following.enter_loop()
    assert state.run.modes is state.process.module_modes is not None
    following.enter_evaluation(model)
    assert not model.training
    with following.user_code():
        model.eval()
    following.leave_evaluation()
    assert model.training
    following._leave_loop(keeps_users=True)
    assert state.run.modes is None
    assert not model.training
