"""Play the cases, or go on from a state, and store the results in a file for each rank: ``… FOLDER [STATE]``."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch

from . import CASES, saving


def main(folder: Path, state: str | None = None) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    results: dict[str, Any] = {}
    two_dimensional = {name: function for name, function in CASES.items() if name.startswith("tensor")}
    cases = CASES if state is None else {"continued": partial(saving.continued, state=state)} | two_dimensional
    for name, function in cases.items():
        torch.manual_seed(3)
        place = folder / name
        place.mkdir(exist_ok=True)
        try:
            results[name] = function(place)
        except Exception:
            results[name] = {"error": traceback.format_exc()}
            print(name, results[name]["error"], file=sys.stderr, flush=True)
    torch.save(results, folder / f"rank{os.environ.get('RANK', '0')}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
