"""Sharding hooks: the user's ``configure_model``, and the optimizers of the parameters that it shards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .. import checks
from .._protocol import TrainerProtocol
from ..distributed.parameters import held_values
from ..distributed.sharded_parameters import ParameterReplacement
from ..distributed.world import is_rank_zero
from ..overrides import is_overridden
from ..utilities.import_guard import guarded_import
from ..utilities.sharded_tensors import clip_norm, gathered, is_sharded, is_sharded_module, reshard, shard_state
from .mode_hooks import ModeHooks
from .multi_process import is_model_parallel


class ShardingHooks(ModeHooks):
    """The hooks of a model that is sharded over the processes."""

    @property
    def shards_model(self) -> bool:
        """Whether ``configure_model`` is to be called: the strategy, or an ``L.Trainer`` of the user's, may need it."""
        return is_model_parallel(self.trainer) or is_overridden(self.trainer, "configure_model")

    def configure_model(self, device_mesh: Any) -> None:
        """Shard the model as the trainer's ``configure_model`` does, unless it is sharded already.

        Parameters
        ----------
        device_mesh : torch.distributed.device_mesh.DeviceMesh
            The mesh of Lightning's strategy.
        """
        trainer = self.trainer
        if is_sharded_module(trainer.model):
            reshard(trainer.model)
            return
        checks.has_no_lazy_parameters(trainer)
        optimizers = _optimizers(trainer)
        _check_optimizers(optimizers)
        parameters = ParameterReplacement(trainer.model)
        trainer.configure_model(device_mesh)
        check_is_sharded(trainer.model, device_mesh)
        optimizers += [other for other in _optimizers(trainer) if all(other is not one for one in optimizers)]
        parameters.apply(trainer.model, optimizers)
        like = trainer.model.state_dict()
        weights = trainer.weight_buffer.get("weight", [])
        weights[:] = [shard_state(state, like) for state in weights]

    def whole(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return a state with whole tensors in place of sharded ones, on rank 0; every rank must call this."""
        if not is_sharded_module(self.trainer.model):  # do not search the records of a whole run
            return state
        whole: dict[str, Any] = gathered(state, keep=is_rank_zero(self.trainer._zae_state.process.world))
        return whole

    def clip_norm(self, parameters: list[torch.Tensor], max_norm: float) -> None:
        """Clip the norm of gradients, of which some are sharded."""
        clip_norm(parameters, max_norm)

    def leave_evaluation(self) -> None:
        """Restore the modes before the evaluation, and release the parameters that its forward passes have gathered."""
        super().leave_evaluation()
        reshard(self.trainer.model)

    def check_shares(self, scale: float, output: Mapping[str, Any]) -> None:
        """Raise `ValueError` if a step of an overridden ``run_batch`` has weighted samples of a sharded model wrongly.

        Parameters
        ----------
        scale : float
            The factor for the loss: the share of this process in the samples of the step, times the processes.
        output : mapping
            What the step returned to `Trainer.run_batch`; empty if the override has not called it.
        """
        if scale != 1.0 and not output and self.trainer.mode == "train" and is_sharded_module(self.trainer.model):
            raise ValueError(
                "The processes have different numbers of samples in this batch, and run_batch has called backward by "
                "itself, so that the gradients of the sharded model count the samples differently. Call "
                "super().run_batch(batch), or give the loader drop_last=True."
            )

    def check_run_epoch(self) -> None:
        """Raise `ValueError` if an overridden ``run_epoch`` has run a model that is to be sharded, but is whole."""
        if is_model_parallel(self.trainer) and not is_sharded_module(self.trainer.model):
            raise ValueError(
                "The model is not sharded, since run_epoch is overridden and does not call super().run_epoch(loader): "
                "Lightning's loop calls configure_model. Call it, or override run_batch instead."
            )


def _optimizers(trainer: TrainerProtocol) -> list[Any]:
    """Return what updates parameters: the trainer's optimizer, of whatever type, and the others in its attributes."""
    found = [] if trainer.optimizer is None else [trainer.optimizer]
    for value in held_values(trainer):
        if isinstance(value, torch.optim.Optimizer) and all(value is not other for other in found):
            found.append(value)
    return found


def _check_optimizers(optimizers: list[Any]) -> None:
    """Raise `TypeError` for an optimizer that cannot be given sharded parameters."""
    with guarded_import("zae_lightning"):
        import zae_lightning

    for optimizer in optimizers:
        name = type(optimizer).__name__
        if not isinstance(getattr(optimizer, "param_groups", None), list):
            raise TypeError(
                f"The {name} has no list of param_groups, so it cannot be given the sharded parameters. Give a "
                f"torch.optim.Optimizer, or set self.optimizer in configure_model, after the sharding."
            )
        if zae_lightning.requires_closure(optimizer):
            raise TypeError(
                f"The {name} needs a closure and joins all parameters to one vector, which sharded parameters cannot "
                f"be. Use an optimizer that updates each parameter by itself, such as AdamW or SGD."
            )


def check_is_sharded(model: torch.nn.Module, device_mesh: Any) -> None:
    """Raise `ValueError` unless the processes hold the same model, or parts of it, after every update.

    Parameters
    ----------
    model : torch.nn.Module
        The model after ``configure_model``.
    device_mesh : torch.distributed.device_mesh.DeviceMesh
        The mesh of Lightning's strategy, with the dimensions ``data_parallel`` and ``tensor_parallel``.
    """
    if device_mesh["data_parallel"].size() == 1:
        if device_mesh.size() > 1 and not is_sharded_module(model):
            raise ValueError(f"configure_model has sharded no parameter of the model. {_REMEDY}")
        return
    whole = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and "data_parallel" not in _dimensions(parameter)
    ]
    if whole:
        shown = ", ".join(whole[:3]) + (f" and {len(whole) - 3} more" if len(whole) > 3 else "")
        raise ValueError(
            f"configure_model has not sharded {shown} over the data-parallel processes, so their gradients would "
            f"differ between them. {_REMEDY}"
        )


_REMEDY = 'Call fully_shard(self.model, mesh=device_mesh["data_parallel"]) last, for what is not sharded yet.'


def _dimensions(parameter: Any) -> tuple[str, ...]:
    return tuple(parameter.device_mesh.mesh_dim_names or ()) if is_sharded(parameter) else ()
