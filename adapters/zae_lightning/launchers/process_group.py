"""Connecting processes, and telling Lightning about them."""

from __future__ import annotations

import atexit
import os
from typing import Any

import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from ..protocol import TrainerProtocol


class ProcessEnvironment(ClusterEnvironment):
    """Processes that run already: Lightning starts none, and takes rank and size from the trainer.

    Parameters
    ----------
    world : World
        The trainer's processes, with ``rank``, ``size``, ``local_rank`` and ``local_size``.
    """

    def __init__(self, world: Any) -> None:
        super().__init__()
        self._world = world

    @property
    def creates_processes_externally(self) -> bool:
        """Always true."""
        return True

    @property
    def main_address(self) -> str:
        """Where rank 0 is."""
        return os.environ.get("MASTER_ADDR", "127.0.0.1")

    @property
    def main_port(self) -> int:
        """Where rank 0 listens."""
        return int(os.environ.get("MASTER_PORT", 0))

    @staticmethod
    def detect() -> bool:
        """Return false: this environment is always given explicitly."""
        return False

    def world_size(self) -> int:
        """The number of processes on all nodes."""
        return int(self._world.size)

    def set_world_size(self, size: int) -> None:
        """Do nothing: the size is fixed."""

    def global_rank(self) -> int:
        """The number of this process among all."""
        return int(self._world.rank)

    def set_global_rank(self, rank: int) -> None:
        """Do nothing: the rank is fixed."""

    def local_rank(self) -> int:
        """The number of this process on its node."""
        return int(self._world.local_rank)

    def node_rank(self) -> int:
        """The number of the node."""
        return int(self._world.rank // self._world.local_size)


def connect(trainer: TrainerProtocol, **arguments: Any) -> None:
    """Connect this process with the others of the trainer's world.

    Parameters
    ----------
    trainer : TrainerProtocol
        The trainer.
    **arguments
        ``store`` or ``init_method`` of `torch.distributed.init_process_group`; by default the launcher's environment
        variables say where rank 0 is.
    """
    world, device = trainer._zae_state.process.world, trainer.device[trainer.primary_device_index]
    if world.launcher == "slurm" and not arguments:
        environment = SLURMEnvironment()  # resolves the name of the first node, and has a port for each job
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    if device.type == "cuda":
        arguments["device_id"] = device
    backend = dist.get_default_backend_for_device(device)
    dist.init_process_group(backend, rank=world.rank, world_size=world.size, **arguments)
    atexit.register(disconnect)


def disconnect() -> None:
    """Leave the other processes, if this one is connected with any."""
    if dist.is_initialized():
        dist.destroy_process_group()
