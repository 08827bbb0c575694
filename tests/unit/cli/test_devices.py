"""The machine: system, cores, and what torch sees."""

from __future__ import annotations

import platform

import torch

from zae_engine.cli import devices


def texts(*arguments):
    return [" ".join(finding.text.split()) for finding in devices.machine(*arguments)]


def test_system_cores_and_accelerators_are_named():
    system, cpu, *accelerators = texts()
    assert system.startswith(f"system {platform.system()}")
    assert "core" in cpu
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    for name in names:
        assert any(name in text for text in accelerators)
    if torch.version.cuda is None and torch.version.hip is None:
        assert accelerators[0] == "CUDA none, this torch is built for CPUs"


def test_without_torch_the_rest_is_reported():
    *_, last = texts("OSError: libc10.so")
    assert last == "accelerators unknown, torch cannot be imported: OSError: libc10.so"
