"""Process group: connecting the ranks, and the environment by which Lightning reads rank and size."""

from __future__ import annotations

import atexit
import os
import sys

import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from ..protocol import TrainerProtocol, World
from .rendezvous import shares_store_of_agent, store_of_attempt


class ProcessEnvironment(ClusterEnvironment):
    """The environment of processes that run already: Lightning starts none, and reads rank and size from the trainer.

    Parameters
    ----------
    world : World
        The processes that train together.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    @property
    def creates_processes_externally(self) -> bool:
        """True: the processes run already."""
        return True

    @property
    def main_address(self) -> str:
        """The address of rank 0."""
        return os.environ.get("MASTER_ADDR", "127.0.0.1")

    @property
    def main_port(self) -> int:
        """The port of rank 0."""
        return int(os.environ.get("MASTER_PORT", 0))

    @staticmethod
    def detect() -> bool:
        """Return false: `placement_arguments` passes this environment explicitly."""
        return False

    def world_size(self) -> int:
        """Return the number of processes on all nodes."""
        return self._world.size

    def set_world_size(self, size: int) -> None:
        """Do nothing: the size is fixed."""

    def global_rank(self) -> int:
        """Return the rank of this process on all nodes."""
        return self._world.rank

    def set_global_rank(self, rank: int) -> None:
        """Do nothing: the rank is fixed."""

    def local_rank(self) -> int:
        """Return the rank of this process on its node."""
        return self._world.local_rank

    def node_rank(self) -> int:
        """Return the rank of the node."""
        return self._world.rank // self._world.local_size


def connect(
    trainer: TrainerProtocol, store_address: tuple[str, int] | None = None, init_method: str | None = None
) -> None:
    """Initialize the process group of the trainer's world.

    Parameters
    ----------
    trainer : TrainerProtocol
        The trainer. It has a world.
    store_address : tuple of (str, int), optional
        Host and port of a `torch.distributed.TCPStore`.
    init_method : str, optional
        As for `torch.distributed.init_process_group`. If both are None, environment variables of the launcher contain
        the address of rank 0.
    """
    world, device = trainer._zae_state.process.world, trainer.device[trainer.primary_device_index]
    assert world is not None  # only the ranks of a world connect
    if world.launcher == "slurm" and store_address is None and init_method is None:
        environment = SLURMEnvironment()  # it resolves the name of the first node, and derives a port from the job
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    store = None
    if store_address is not None:
        store = dist.TCPStore(*store_address, is_master=False)  # type: ignore[attr-defined]
    elif world.launcher == "torchrun" and init_method is None and shares_store_of_agent():
        store = store_of_attempt(world)
    dist.init_process_group(
        dist.get_default_backend_for_device(device),
        init_method=init_method,
        store=store,
        rank=world.rank,
        world_size=world.size,
        device_id=device if device.type == "cuda" else None,
    )
    atexit.register(_disconnect_at_exit)


def _disconnect_at_exit() -> None:
    """Destroy the process group, unless an exception ends the process.

    Where NCCL has operations that wait for other ranks, destroying would wait too, and the launcher would not learn
    that this process has failed.
    """
    if getattr(sys, "last_value", None) is None or (dist.is_initialized() and dist.get_backend() == "gloo"):
        disconnect()


def disconnect() -> None:
    """Destroy the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
