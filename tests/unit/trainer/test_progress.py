"""Progress: the counts of steps and epochs."""

import pytest

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


def progress_after(epochs):
    progress = ProgressChecker()
    for _ in range(epochs):
        progress.update_epoch()
    return progress


@pytest.mark.parametrize(("done", "expected"), [(0, 5), (3, 2), (5, 0), (9, 0)])
def test_until_counts_the_epochs_that_are_done(done, expected):
    assert progress_after(done).epochs_to_run(None, 5, "train") == expected
    assert progress_after(done).epochs_to_run(5, None, "train") == 5


@pytest.mark.parametrize(
    ("n_epoch", "until", "mode", "error", "message"),
    [
        (None, None, "train", TypeError, "neither n_epoch nor until"),
        (1, 2, "train", TypeError, "both n_epoch and until"),
        (None, 2.5, "train", TypeError, r"until=2\.5 is no integer"),
        (None, -1, "train", ValueError, "until=-1 is negative"),
        (None, 1, "test", ValueError, "test mode"),
    ],
)
def test_what_is_no_number_of_epochs_is_an_error(n_epoch, until, mode, error, message):
    with pytest.raises(error, match=message):
        ProgressChecker().epochs_to_run(n_epoch, until, mode)
