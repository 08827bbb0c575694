"""Reading an offline run of Weights & Biases back: records of protobuf in LevelDB's log format."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

HEADER, BLOCK = 7, 32768
FULL, LAST = 1, 4


def read_wandb_run(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the history, a dict a row, and the configuration of a run that is finished."""
    history, config = [], {}
    for record in _finished(path):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            history.append({_key(item): json.loads(item.value_json) for item in record.history.item})
        elif kind in ("config", "run"):
            update = record.config.update if kind == "config" else record.run.config.update
            config |= {_key(item): json.loads(item.value_json) for item in update}
    return history, config


def read_exit_code(path: Path) -> int:
    """Return the exit code that a run was finished with."""
    (code,) = [record.exit.exit_code for record in _finished(path) if record.WhichOneof("record_type") == "exit"]
    return code


def _finished(path: Path) -> list[Any]:
    """Return the records of a run; wandb's own process may write the last of them after ``finish()`` has returned."""
    deadline = time.monotonic() + 60
    while True:
        records = [wandb_internal_pb2.Record.FromString(data) for data in _records(path.read_bytes())]
        if any(record.WhichOneof("record_type") == "exit" for record in records):
            return records
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} has {len(records)} records, and no exit record: is the run finished?")
        time.sleep(0.02)


def _key(item: Any) -> str:
    return item.key or "/".join(item.nested_key)


def _records(data: bytes):
    position, parts = HEADER, []
    while position + 7 <= len(data):
        if BLOCK - position % BLOCK < 7:  # too little room for a header: padding
            position += BLOCK - position % BLOCK
            continue
        length, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        if position + 7 + length > len(data):
            return  # it is being written
        parts.append(data[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = []
