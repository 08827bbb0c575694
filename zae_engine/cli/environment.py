"""Environment: paths and environment variables for ``zae doctor --verbose``, without secrets."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from .findings import Finding

PREFIXES = ("PL_", "WANDB_", "NEPTUNE_", "ZAE_", "TORCH", "PYTORCH_", "CUDA_", "NCCL_", "GLOO_")
NAMES = (
    *("MASTER_ADDR", "MASTER_PORT", "RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_NTASKS", "SLURM_NNODES", "SLURM_PROCID", "SLURM_LOCALID"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONPATH", "PYTHONWARNINGS", "VIRTUAL_ENV", "CONDA_PREFIX", "NETRC"),
)
SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|AUTH|JWT", re.IGNORECASE)
SECRET_VALUE = re.compile(r"[\w+=-]{40,}")  # the form of keys and tokens
PACKAGES = ("zae_engine", "zae_lightning", "torch", "lightning", "torchmetrics", "numpy")


def paths() -> Iterator[Finding]:
    """Yield where Python, the packages and the script ``zae`` are."""
    yield Finding(f"{'Python':<20}{sys.executable}", "plain")
    yield Finding(f"{'environment':<20}{sys.prefix}", "plain")
    yield Finding(f"{'current folder':<20}{os.getcwd()}", "plain")
    for name in PACKAGES:
        spec = find_spec(name)
        yield Finding(f"{name:<20}{spec.origin or 'a folder without __init__.py' if spec else 'not found'}", "plain")
    script = shutil.which("zae") or "not on the PATH; `python -m zae_engine.cli` is the same"
    yield Finding(f"{'zae':<20}{script}", "plain")


def variables(values: Mapping[str, str]) -> Iterator[Finding]:
    """Yield those environment variables that zae-engine, Lightning, torch or the loggers read, sorted by name."""
    found = sorted(name for name in values if name in NAMES or name.startswith(PREFIXES))
    for name in found:
        yield Finding(f"{name}={shown(name, values[name])}", "plain")
    if not found:
        yield Finding("none that zae-engine, Lightning, torch or the loggers read", "plain")


def shown(name: str, value: str) -> str:
    """Return the value of a variable, or ``set`` for a secret; passwords in addresses are left out."""
    is_logger = name.startswith(("WANDB_", "NEPTUNE_"))
    if value and (SECRET_NAME.search(name) or (is_logger and SECRET_VALUE.search(value))):
        return "set"
    return re.sub(r"//[^/@\s]*@", "//", value)
