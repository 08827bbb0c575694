"""Write or read state files on one of the two packages.

``state_files.py upstream|ours``; each line ``write|read FOLDER FORMAT`` on the standard input is answered by a line.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))


def write_or_read(which: str, action: str, folder: str, save_format: str) -> None:
    from scenarios.parts import Traced, build, constant, loaders

    from zae_engine.schedulers import CosineAnnealingScheduler, SchedulerChain, WarmUpScheduler
    from zae_engine.trainer.addons import StateManagerAddon

    def chain(optimizer):
        return SchedulerChain(WarmUpScheduler(optimizer, 2), CosineAnnealingScheduler(optimizer, 20))

    torch.manual_seed(0 if action == "write" else 1)
    scheduler = constant if "constant" in folder else chain
    cls = Traced.add_on(StateManagerAddon)
    trainer = build(cls, scheduler=scheduler, save_path=folder, save_format=save_format)
    if action == "write":
        trainer.run(3, loaders()[0])
        trainer.save_state()
    else:
        trainer.load_state()
    state = {
        "model": dict(trainer.model.state_dict()),
        "optimizer": trainer.optimizer.state_dict(),
        "rate": trainer.optimizer.param_groups[0]["lr"],
        "steps": getattr(trainer.scheduler, "_step_count", None),
    }
    if scheduler is chain:
        state["parts"] = [(s._step_count, s.last_epoch) for s in trainer.scheduler.schedulers]
        state["in charge"] = trainer.scheduler.i_scheduler
    torch.save(state, Path(folder) / f"{which}-{action}.pt")


def main(which: str) -> None:
    if which == "upstream":
        import reference

        reference.install(reference.fetch())
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            write_or_read(which, *line.rstrip("\n").split("\t"))
            print("done", file=answers, flush=True)
        except Exception:
            print(repr(traceback.format_exc()), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
