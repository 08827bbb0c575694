"""Progress bars: a bar that is given is the bar."""

from __future__ import annotations

import contextlib
import io
from typing import Any

from lightning.pytorch import callbacks as C

from ..players import Player
from ..problem import train_loader, valid_loader
from . import situation


class Counts(C.ProgressBar):
    """A bar of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []
        self.is_on = True

    def disable(self) -> None:
        self.is_on = False

    def enable(self) -> None:
        self.is_on = True

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        metrics = self.get_metrics(trainer, module)
        self.seen.append((index, self.total_train_batches, metrics.get("loss") is not None))


def shown(player: Player, bar: Any) -> dict[str, Any]:
    """Return whether a bar is the bar, and whether zae-engine draws none beside it."""
    drawn = io.StringIO()
    with contextlib.redirect_stderr(drawn), contextlib.redirect_stdout(drawn):
        subject = player.make(callbacks=[bar], given={"log_bar": True}).fit(2, train_loader(), valid_loader())
    return {
        "is_the_bar": subject.trainer.progress_bar_callback is bar,
        "only_bar": "train_loss: " not in drawn.getvalue(),
    }


@situation
def bar_of_tqdm(player: Player) -> dict[str, Any]:
    """`TQDMProgressBar` is the bar, without a further argument; zae-engine's steps back."""
    return shown(player, C.TQDMProgressBar(refresh_rate=1))


@situation
def bar_of_rich(player: Player) -> dict[str, Any]:
    """`RichProgressBar` is the bar, without a further argument; zae-engine's steps back."""
    return shown(player, C.RichProgressBar())


@situation
def bar_of_ones_own(player: Player) -> dict[str, Any]:
    """A progress bar of the user's own is the bar and sees every batch."""
    bar = Counts()
    found = shown(player, bar)
    return {**found, "seen": [(index, total) for index, total, _ in bar.seen], "is_on": bar.is_on}


@situation
def values_on_a_bar(player: Player) -> dict[str, Any]:
    """A bar is given the loss at every batch."""
    bar = Counts()
    player.make(callbacks=[bar]).fit(1, train_loader(), valid_loader())
    return {"loss": [has_loss for _, _, has_loss in bar.seen]}


@situation(ways=("run",), expected={"drawn": True})
def bar_of_zae_engine(player: Player) -> dict[str, Any]:
    """Without a bar among the callbacks, zae-engine's own is drawn."""
    drawn = io.StringIO()
    with contextlib.redirect_stderr(drawn), contextlib.redirect_stdout(drawn):
        player.make(callbacks=[C.Callback()], given={"log_bar": True}).fit(1, train_loader(), valid_loader())
    return {"drawn": "train_loss" in drawn.getvalue()}


@situation
def two_fits_with_a_bar(player: Player) -> dict[str, Any]:
    """A bar is used in two runs."""
    bar = Counts()
    player.make(callbacks=[bar]).fit(1, train_loader()).fit(1, train_loader())
    return {"seen": [index for index, _, _ in bar.seen]}
