"""Rendezvous: the ranks of an attempt share a store in which earlier attempts have no keys."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import torch.distributed as dist
from zae_lightning.launchers import rendezvous

from zae_engine.trainer.distributed.world import World


@pytest.fixture
def agent_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the store of an agent, which the environment names as torchrun does."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    return store


def attempt(size: int) -> list[Any]:
    """Return the store of each rank of one attempt, which meet in threads."""
    with ThreadPoolExecutor(size) as threads:
        worlds = [World(rank, size, rank, size, "torchrun") for rank in range(size)]
        return list(threads.map(rendezvous.store_of_attempt, worlds))


@pytest.mark.usefixtures("agent_store")
def test_the_ranks_of_an_attempt_share_a_store():
    stores = attempt(3)
    stores[0].set("address", "here")
    assert [store.get("address") for store in stores] == [b"here"] * 3


@pytest.mark.usefixtures("agent_store")
@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_later_attempt_has_no_keys_of_an_earlier_one_whatever_its_size(size: int):
    for store in attempt(3):
        store.set("address", "of a dead process")
    later = attempt(size)
    assert not any(store.check(["address"]) for store in later)
    later[1].set("address", "new")
    assert later[0].get("address") == b"new"


def test_a_process_that_has_died_before_it_was_answered_is_passed_over(agent_store: Any):
    dist.PrefixStore("zae-engine/rendezvous", agent_store).set("arrived/1", "of a dead process")
    stores = attempt(2)
    stores[1].set("address", "new")
    assert stores[0].get("address") == b"new"


@pytest.mark.usefixtures("agent_store")
def test_a_rank_that_does_not_arrive_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rendezvous, "TIMEOUT", timedelta(seconds=1))
    with pytest.raises(dist.DistError, match=r"Ranks \[1, 2\] of 3 have not arrived"):
        rendezvous.store_of_attempt(World(0, 3, 0, 3, "torchrun"))
