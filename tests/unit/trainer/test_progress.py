"""Progress: the counts of steps and epochs."""

from zae_engine.trainer import ProgressChecker


def test_counts_start_at_one_and_go_up_by_one():
    progress = ProgressChecker()
    assert (progress.get_step(), progress.get_epoch()) == (1, 1)
    progress.update_step()
    progress.update_step()
    progress.update_epoch()
    assert (progress.get_step(), progress.get_epoch()) == (3, 2)
    progress.init_state()
    assert (progress.get_step(), progress.get_epoch()) == (1, 1)


def test_repr_shows_both_counts():
    assert repr(ProgressChecker()) == "ProgressChecker(step=1, epoch=1)"
