"""What a run shows: the bar and the epoch lines on stderr, nothing else, and nothing on stdout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import warnings

import pytest

from tests.conftest import Classifier
from zae_engine.trainer.display import progress_display
from zae_engine.trainer.display.screens import LogFile

METRIC = r"-?\d+\.\d{4}"
TIME = r"\d\d:\d\d:\d\d "


class Measured(Classifier):
    def metric_on_epoch_end(self):
        return {"score": 0.5, "note": "fine"} if self.mode == "test" else {"size": 3}


def test_without_bar_there_is_one_line_an_epoch(make, loader, valid_loader, capfd):
    make(Measured).run(2, loader, valid_loader)
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 2
    for i, line in enumerate(lines, 1):
        train = rf"train_loss: {METRIC}, acc: {METRIC}, size: 3\.0000"
        test = rf"test_loss: {METRIC}, score: 0\.5000, note: fine"
        assert re.fullmatch(rf"{TIME}Epoch {i}/2 \| {train} \| {test} \| \d\.\d s( \*)?", line)


def test_a_new_best_is_marked(make, loader, capfd):
    class Rising(Classifier):
        def train_step(self, batch):
            step = super().train_step(batch)
            losses = {1: 3.0, 2: 2.0, 3: 4.0, 4: 1.0}
            return {"loss": 0.0 * step["loss"] + losses[self.progress_checker.get_epoch()]}

    make(Rising).run(4, loader)
    assert [line.endswith(" s *") for line in capfd.readouterr().err.splitlines()] == [True, True, False, True]


def test_a_line_is_at_most_as_wide_as_the_terminal(make, loader, capfd, monkeypatch):
    class Many(Classifier):
        def metric_on_epoch_end(self):
            return {f"metric_{i}": i for i in range(20)}

    monkeypatch.setenv("COLUMNS", "60")
    make(Many, log_bar="always").run(1, loader)
    (line,) = [line for line in re.split(r"[\r\n]", capfd.readouterr().err) if "train_loss" in line]
    assert 50 < len(line) <= 60
    assert re.fullmatch(r"Epoch 1/1 \| train_loss: \d.*, … \| \d\.\d s \*", line)


def test_epochs_are_numbered_over_all_runs(make, loader, capfd):
    trainer = make()
    trainer.run(1, loader)
    trainer.run(2, loader)
    trainer.toggle("test")
    trainer.run(2, loader)
    lines = capfd.readouterr().err.splitlines()
    assert all(re.match(TIME, line) for line in lines)
    heads = [line.split(" | ")[0][9:] for line in lines]
    assert heads == ["Epoch 1/1", "Epoch 2/3", "Epoch 3/3", "Epoch 4/5", "Epoch 5/5"]


def test_bar_shows_epoch_batch_rate_and_running_means(make, loader, valid_loader, capfd):
    trainer = make(log_bar="always")
    trainer.run(2, loader, valid_loader)
    out, err = capfd.readouterr()
    assert out == ""
    frames = err.split("\r")
    last = [frame for frame in frames if frame.startswith("Epoch 2/2:") and "3/3" in frame][-1]
    assert "LR=1.000e-01" in last
    assert re.search(r"loss=\d\.\d{6}, acc=\d\.\d{6}", last)
    assert any(frame.startswith("Epoch 1/2 test:") and "2/2" in frame for frame in frames)
    assert "output" not in err
    assert len(re.findall(r"Epoch \d/2 \| train_loss", err)) == 2


def test_bar_of_a_lone_epoch_goes_away_when_it_ends(make, loader, capfd):
    trainer = make(log_bar="always")
    trainer.run_epoch(loader)
    trainer.inference(loader)
    err = capfd.readouterr().err
    assert "One epoch: 100%" in err
    assert "One epoch test: 100%" in err
    assert err.split("\r")[-1].strip() == ""


def test_print_log_means_are_exact_to_six_places(make, loader):
    trainer = make()
    trainer.run(1, loader)
    shown = trainer.print_log(cur_batch=3, num_batch=3)
    losses = [float(loss) for loss in trainer.log_train["loss"]]
    assert shown["Batch"] == "3/3"
    assert shown["LR"] == "1.000e-01"
    assert shown["loss"] == f"{sum(losses) / 3:.6f}"
    assert make(optimizer=None, mode="test").print_log(1, 1) == {"Batch": "1/1", "LR": "0.000e+00"}


@pytest.mark.parametrize("bar", [False, "always"])
def test_own_print_log_is_called_after_every_batch_and_shown(make, loader, bar, capfd):
    class Own(Classifier):
        calls = 0

        def print_log(self, cur_batch, num_batch):
            self.calls += 1
            return {"mine": f"{cur_batch} of {num_batch}"}

    trainer = make(Own, log_bar=bar)
    trainer.run(1, loader)
    assert trainer.calls >= 3
    assert ("mine=3 of 3" in capfd.readouterr().err) is bool(bar)


def test_words_among_the_logs_do_not_stop_the_bar(make, loader, capfd):
    class Wordy(Classifier):
        def train_step(self, batch):
            return {**super().train_step(batch), "word": "a", "pair": batch[0][: len(self.log_train["word"]) + 1]}

    trainer = make(Wordy, log_bar="always")
    trainer.run(1, loader)
    assert "loss=" in capfd.readouterr().err
    assert sorted(trainer.print_log(1, 1)) == ["Batch", "LR", "acc", "loss"]


def test_lightning_says_nothing_of_itself_and_the_users_warnings_pass(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import warnings, torch
            from torch.utils.data import DataLoader, TensorDataset
            from tests.conftest import Classifier

            class Warning_(Classifier):
                def train_step(self, batch):
                    warnings.warn("mind the step")
                    return super().train_step(batch)

            model = torch.nn.Linear(10, 2)
            data = TensorDataset(torch.randn(24, 10), torch.zeros(24, dtype=torch.long))
            trainer = Warning_(model, "cpu", optimizer=torch.optim.SGD(model.parameters(), lr=0.1), log_bar=False)
            loader = DataLoader(data, 8, shuffle=True, collate_fn=lambda b: torch.utils.data.default_collate(b))
            trainer.run(1, loader, DataLoader(data, 8, shuffle=True))
            trainer.run(1, loader)
            trainer.inference(loader)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        cwd=sys.path[0] or ".",
        check=False,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not re.match(rf"{TIME}Epoch ", line)]
    assert "mind the step" in lines[0]
    assert all("mind the step" in line or "warnings.warn" in line for line in lines), done.stderr


def test_filters_and_loggers_are_as_before_after_a_run(make, loader):
    import logging

    make().run(1, loader)
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    before = (list(logger.filters), logger.level, list(warnings.filters))
    make().run(1, loader)
    assert (list(logger.filters), logger.level, list(warnings.filters)) == before
    with pytest.warns(UserWarning, match="does not have many workers"):
        warnings.warn("The 'train_dataloader' does not have many workers", stacklevel=1)  # not ours, not during a run


@pytest.mark.parametrize("shown", [None, [("pairs", "1")], {}])
def test_own_print_log_may_give_nothing_or_pairs(make, loader, shown, capfd):
    class Own(Classifier):
        def print_log(self, cur_batch, num_batch):
            return shown

    make(Own, log_bar="always").run(1, loader)
    assert ("pairs=1" in capfd.readouterr().err) is bool(shown)


def test_a_bar_of_lightnings_shows_the_progress_instead(make, loader, valid_loader, capfd):
    from lightning.pytorch.callbacks import ProgressBar

    class Silent(ProgressBar):
        """Shows nothing."""

        def disable(self):
            """Do nothing."""

    make(log_bar=True, callbacks=[Silent()]).run(2, loader, valid_loader)
    assert capfd.readouterr() == ("", "")


def test_where_stderr_is_no_terminal_there_is_no_bar(make, loader, valid_loader, capfd):
    make(log_bar=True).run(2, loader, valid_loader)
    out, err = capfd.readouterr()
    assert out == ""
    assert "\r" not in err
    assert len(err.splitlines()) == 2
    assert all(re.match(rf"{TIME}Epoch \d/2 \| train_loss: {METRIC}", line) for line in err.splitlines())


def test_a_long_epoch_writes_a_line_after_each_interval(make, loader, valid_loader, capfd, monkeypatch):
    monkeypatch.setattr(LogFile, "SECONDS", 0.0)
    monkeypatch.setattr(progress_display, "REFRESH_SECONDS", 0.0)
    make(log_bar=True).run(1, loader, valid_loader)
    lines = [line[9:] for line in capfd.readouterr().err.splitlines()]
    assert [line.split(" | loss")[0] for line in lines[:-1]] == [
        "Epoch 1/1 | batch 1/3",
        "Epoch 1/1 | batch 2/3",
        "Epoch 1/1 test | batch 1/2",
    ]
    assert re.fullmatch(r"Epoch 1/1 \| batch 1/3 \| loss: \d\.\d{6}, acc: \d\.\d{6}, LR: 1\.000e-01", lines[0])
    make(log_bar=False).run(1, loader)
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_hundred_epochs_in_a_file_are_small(tmp_path):
    script, log = tmp_path / "script.py", tmp_path / "log.txt"
    script.write_text(
        textwrap.dedent(
            """
            import torch
            from torch.utils.data import DataLoader, TensorDataset
            from tests.conftest import Classifier

            class Accurate(Classifier):
                def test_step(self, batch):
                    return {"acc": 0.5, **super().test_step(batch)}

            model = torch.nn.Linear(10, 2)
            loader = DataLoader(TensorDataset(torch.randn(24, 10), torch.zeros(24, dtype=torch.long)), 8)
            trainer = Accurate(model, "cpu", optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
            trainer.run(100, loader, loader)
            """
        )
    )
    with log.open("wb") as file:
        subprocess.run([sys.executable, script], stderr=file, check=True, env={**os.environ, "PYTHONPATH": "."})
    text = log.read_bytes()
    assert b"\r" not in text
    assert len(text.splitlines()) == 100
    assert len(text) < 10_000
