"""Root: the names that zae-engine 0.7.6 has at its root, each imported on first access (PEP 562)."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from .legacy import hints, places

OWN_PACKAGES = ("legacy", "metrics", "schedulers", "trainer")

_OWN = {
    "trainer": ("ProgressChecker", "T", "Trainer"),
    "metrics": (
        *("BijectiveMetrix", "accuracy", "confusion_matrix", "f_beta", "f_beta_from_mat", "giou", "miou", "mse"),
        *("peak_signal_to_noise", "print_confusion_matrix", "rms", "signal_to_noise"),
        *("bijective", "confusion", "count", "iou", "signals"),
    ),
}
_LEGACY = {
    "models": (
        *("AutoEncoder", "BertBase", "CNNBase", "DecoderBase", "DummyModel", "EncoderBase", "NestedUNet"),
        *("TransformerBase", "VAE", "autoencoder", "builds", "cnn", "converter", "initializer", "nested_autoencoder"),
        *("transformer", "utility"),
    ),
    "nn_night": (
        *("BasicBlock", "Bottleneck", "CBAM1d", "ClippedReLU", "DynOPool", "GumbelSoftMax", "Inv1d", "Residual"),
        *("SE1d", "SKConv1D", "blocks", "layers"),
    ),
    "loss": (*("ArcFaceLoss", "GIoU", "IoU", "angular", "compute_gram_matrix", "cross_entropy", "mIoU", "norm"),),
    "operation": ("MorphologicalLayer", "Run", "RunLengthCodec", "RunList", "arg_nearest", "run_length"),
    "examples": ("classification1D", "classification_1dim", "segmentation1D", "segmentation_1dim"),
}
_SUBMODULES = {  # modules that are in a subpackage of the package that `_package_of` returns
    "autoencoder": "models.builds.autoencoder",
    "cnn": "models.builds.cnn",
    "nested_autoencoder": "models.builds.nested_autoencoder",
    "transformer": "models.builds.transformer",
}


def _package_of(name: str) -> str | None:
    """Return the package that defines a name, without ``zae_engine.``; None if 0.7.6 has no such name."""
    if name in OWN_PACKAGES or name in places.PARTS:
        return name
    return next((package for table in (_OWN, _LEGACY) for package, names in table.items() if name in names), None)


def get(root: ModuleType, name: str) -> Any:
    """Return the object that a name refers to at the root of the package.

    Parameters
    ----------
    root : module
        ``zae_engine`` itself.
    name : str
        The name.

    Raises
    ------
    AttributeError
        If the name does not exist, or needs a package that is not installed. The message says which command installs
        it.
    ModuleNotFoundError
        In the latter case, for ``from zae_engine import <name>``.
    """
    if name == "__all__":  # for ``from zae_engine import *``
        return available()
    package_name = _package_of(name)
    if package_name is None:
        raise AttributeError(f"module {root.__name__!r} has no attribute {name!r}", name=name, obj=root)
    try:
        package = importlib.import_module(f"{root.__name__}.{package_name}")
        if name == package_name:
            return package
        try:
            return getattr(package, name)
        except AttributeError:
            return importlib.import_module(f"{root.__name__}.{_SUBMODULES.get(name, f'{package_name}.{name}')}")
    except ModuleNotFoundError as error:
        # ``hasattr`` and ``pickle`` expect an AttributeError, an import statement a ModuleNotFoundError.
        if hints.from_import():
            raise
        raise AttributeError(str(error), name=name, obj=root) from error


def available() -> list[str]:
    """Return the names that `get` accepts; the names of a copy of 0.7.6 only if one is installed."""
    names = [*OWN_PACKAGES, *(name for names in _OWN.values() for name in names)]
    if places.find() is not None:
        names += [*places.PARTS, *(name for names in _LEGACY.values() for name in names)]
    return sorted(names)
