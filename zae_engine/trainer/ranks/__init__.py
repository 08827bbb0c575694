"""Training in several processes: who takes part, which batches each gets, and how their records become one."""

from .dealing import Dealt
from .gradients import GradientAveraging
from .ledger import Ledger, Share, merge
from .part import (
    deal_out,
    distributes,
    needs_processes,
    taking_part,
    tell_of_unused_devices,
    waits_for_processes,
)
from .records import agree_on_metrics, begin_logs, broadcast_buffers, merge_logs
from .trained import Trained
from .world import World, is_first

__all__ = [
    "Dealt",
    "GradientAveraging",
    "Ledger",
    "Share",
    "Trained",
    "World",
    "agree_on_metrics",
    "begin_logs",
    "broadcast_buffers",
    "deal_out",
    "distributes",
    "is_first",
    "merge",
    "merge_logs",
    "needs_processes",
    "taking_part",
    "tell_of_unused_devices",
    "waits_for_processes",
]
