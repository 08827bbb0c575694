"""World: the processes that train together, their ranks, and what they exchange."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist

from .log_merging import LogTracker

MESSAGE_BYTES = 64 << 20
"""The size of a message that gathers values, over all ranks."""


@dataclass
class World:
    """The processes that train together, and the rank of this process.

    Attributes
    ----------
    rank, size : int
        The rank of this process, from 0, and the number of processes on all nodes.
    local_rank, local_size : int
        The rank of this process on its node, and the number of processes there.
    launcher : str
        What started the processes: "trainer" (they end with the run), "torchrun", "ray", "slurm" or "environment".
    replicas : int
        The number of neighbouring ranks that receive the same batches: those of a tensor-parallel model.
    log_tracker : LogTracker
        Records the share of each log entry of this process.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    launcher: str = "trainer"
    replicas: int = 1
    log_tracker: LogTracker = field(default_factory=LogTracker)

    @property
    def nodes(self) -> int:
        """The number of nodes."""
        return self.size // self.local_size

    @property
    def data_rank(self) -> int:
        """Which share of the data this process receives, from 0."""
        return self.rank // self.replicas

    @property
    def data_size(self) -> int:
        """The number of shares of the data."""
        return self.size // self.replicas

    def gather_shares(self, value: Any) -> list[Any]:
        """Return a value for each share of the data on all ranks; see `gather`."""
        return self.gather(value)[:: self.replicas]

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks on all ranks. The value must be picklable; every rank must call this.

        The ranks exchange their pickles in messages of at most `MESSAGE_BYTES` over all ranks, so that what a device
        needs for them does not grow with the values or with the number of ranks.
        """
        data, received = pickle.dumps(value, pickle.HIGHEST_PROTOCOL), [bytearray() for _ in range(self.size)]
        lengths = self.gather_ints(len(data))
        longest, part_length = max(lengths), max(1, MESSAGE_BYTES // self.size)
        for start in range(0, longest, part_length):
            part = torch.zeros(min(part_length, longest - start), dtype=torch.uint8)
            own = bytearray(data[start : start + len(part)])
            if own:
                part[: len(own)] = torch.frombuffer(own, dtype=torch.uint8)
            parts = torch.empty(self.size, len(part), dtype=torch.uint8, device=_device())
            dist.all_gather(list(parts), part.to(parts.device))
            for pickled, length, row in zip(received, lengths, parts.cpu().numpy(), strict=True):
                pickled += row[: max(0, length - start)].tobytes()
        return [pickle.loads(pickled) for pickled in received]

    def gather_ints(self, value: int) -> list[int]:
        """Return the integers of all ranks on all ranks; every rank must call this."""
        values = torch.zeros(self.size, dtype=torch.int64, device=_device())
        values[self.rank] = value
        dist.all_reduce(values)
        return [int(number) for number in values.tolist()]

    def broadcast(self, value: Any, src: int = 0) -> Any:
        """Return the value of one rank on all ranks. The value must be picklable; every rank must call this."""
        values = [value]
        dist.broadcast_object_list(values, src=src)
        return values[0]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> World | None:
        """Return the world that a launcher has started; None without a launcher.

        Parameters
        ----------
        environment : mapping of str to str, optional
            Environment variables, by default those of this process. torchrun and Ray Train set ``RANK``,
            ``LOCAL_RANK``, ``WORLD_SIZE`` and ``LOCAL_WORLD_SIZE``, SLURM's srun ``SLURM_PROCID``,
            ``SLURM_LOCALID``, ``SLURM_NTASKS`` and ``SLURM_NNODES``.

        Returns
        -------
        World or None
            None also if the launcher has started a single process.
        """
        get = environment.get
        try:
            if "RANK" in environment and "LOCAL_RANK" in environment and "WORLD_SIZE" in environment:
                size, launcher = int(environment["WORLD_SIZE"]), "environment"
                if "TORCHELASTIC_RUN_ID" in environment:
                    launcher = "torchrun"
                elif "ray.train" in sys.modules:
                    launcher = "ray"
                rank, local_rank = int(environment["RANK"]), int(environment["LOCAL_RANK"])
                local_size = int(get("LOCAL_WORLD_SIZE", size))
            elif "SLURM_PROCID" in environment and get("SLURM_JOB_NAME") not in ("bash", "interactive"):
                size, launcher = int(get("SLURM_NTASKS", 1)), "slurm"
                rank, local_rank = int(environment["SLURM_PROCID"]), int(get("SLURM_LOCALID", 0))
                local_size = size // int(get("SLURM_NNODES", 1))
            else:
                return None
        except ValueError as error:
            raise ValueError(f"The environment variables of the launcher make no sense: {error}.") from error
        return cls(rank, size, local_rank, local_size, launcher) if size > 1 else None


def _device() -> torch.device | None:
    """Return the device of the tensors that the ranks exchange; None for the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else None


def is_rank_zero(world: World | None) -> bool:
    """Whether this process writes files: it has rank 0, or is the only process (``world`` is None)."""
    return world is None or world.rank == 0
