"""Evaluation loop: the batches of a validation or test, without the calls in which nothing happens.

See ``training_loop.py``; the names used here are private to Lightning, and
tests/unit/zae_lightning/performance/test_evaluation_loop.py fails if they change.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
from lightning.pytorch.loops.fetchers import _PrefetchDataFetcher
from lightning.pytorch.utilities.exceptions import SIGTERMException

from .training_loop import PlanHolder, StepPlan, plan_for


class FastEvaluationLoop(PlanHolder, _EvaluationLoop):
    """The loop over the batches of a validation or test epoch."""

    def _verify_dataloader_idx_requirement(self) -> None:
        """Check the signatures of the module's hooks, unless the plan of the latest batch says that they are known."""
        if self._plan is None or not self._plan.is_current() or self.num_dataloaders != 1:
            super()._verify_dataloader_idx_requirement()

    def _evaluation_step(self, batch: Any, batch_idx: int, dataloader_idx: int, dataloader_iter: Any) -> None:
        """Evaluate a batch."""
        if self._plan is None or not self._plan.is_current():
            is_known = self.num_dataloaders == 1 and type(self._data_fetcher) is _PrefetchDataFetcher
            self._plan = plan_for(self.trainer) if is_known else None
        if self._plan is None:
            super()._evaluation_step(batch, batch_idx, dataloader_idx, dataloader_iter)
        else:
            self._evaluate(batch, batch_idx, self._plan)

    def _evaluate(self, batch: Any, batch_idx: int, plan: StepPlan) -> None:
        """Do what Lightning's ``_evaluation_step`` does."""
        trainer, module, calls, progress = self.trainer, plan.module, plan.calls, self.batch_progress
        stage = "test" if trainer.testing else "validation"
        batch = module.transfer_batch_to_device(batch, plan.device, 0)
        progress.increment_ready()
        plan.begin_batch(batch, self._results)
        calls(f"on_{stage}_batch_start", batch, batch_idx)
        progress.increment_started()
        attributes = module.__dict__
        outer, attributes["_current_fx_name"] = attributes["_current_fx_name"], f"{stage}_step"
        with plan.precision.val_step_context():
            output = module.validation_step(batch, batch_idx)
        attributes["_current_fx_name"] = outer
        progress.increment_processed()
        calls(f"on_{stage}_batch_end", output, batch, batch_idx)
        module.on_validation_batch_end(output, batch, batch_idx)
        plan.end_batch(self._results)
        progress.increment_completed()
        if not trainer.sanity_checking:
            self._has_run = True
            if self._results:
                plan.connector.update_eval_step_metrics(self._seen_batches_per_dataloader[0])
            self._seen_batches_per_dataloader[0] += 1
        if not progress.is_last_batch and trainer.received_sigterm:
            raise SIGTERMException
