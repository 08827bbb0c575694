"""Devices: the operating system, the CPU cores, and the accelerators that torch sees."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from typing import Any

from .findings import Finding
from .imports import one_line


def machine(torch_error: str | None = None) -> Iterator[Finding]:
    """Yield a finding for the operating system, the CPU, and each accelerator.

    Parameters
    ----------
    torch_error : str, optional
        Why torch cannot be imported; None if it can.
    """
    yield Finding(f"{'system':<20}{platform.system()} {platform.release()}, {platform.machine()}")
    yield Finding(f"{'CPU':<20}{_cores()}")
    if torch_error is not None:
        yield Finding(f"{'accelerators':<20}unknown, torch cannot be imported: {torch_error}", "note")
        return
    import torch

    for name, look in (("CUDA", _cuda), ("MPS", _mps)):
        try:
            yield from look(torch)
        except Exception as error:  # drivers fail in many ways
            text = f"{name:<20}torch cannot look for devices: {one_line(str(error))}"
            yield Finding(text, "note", "reinstall the driver, or set CUDA_VISIBLE_DEVICES= to do without")


def _cores() -> str:
    total = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    text = f"{total} core" if total == 1 else f"{total} cores"
    return text if usable == total else f"{text}, {usable} of them for this process"


def _cuda(torch: Any) -> Iterator[Finding]:
    name = f"{'CUDA':<20}"
    if torch.version.hip:
        built = f"ROCm {torch.version.hip}"
    elif torch.version.cuda:
        built = f"CUDA {torch.version.cuda}"
    else:
        yield Finding(f"{name}none, this torch is built for CPUs")
        return
    if not torch.cuda.is_available():
        remedy = "see whether `nvidia-smi` finds a GPU, and whether its driver is new enough for this torch"
        if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
            remedy = "CUDA_VISIBLE_DEVICES hides all GPUs: unset it to use them"
        yield Finding(f"{name}none, although this torch is built for {built}", "note", remedy)
        return
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        yield Finding(f"{f'cuda:{index}':<20}{torch.cuda.get_device_name(index)}, {memory:.0f} GiB, {built}")


def _mps(torch: Any) -> Iterator[Finding]:
    if torch.backends.mps.is_available():
        yield Finding(f"{'mps':<20}{platform.processor() or 'Apple'} GPU")
