"""Reading an offline run of Weights & Biases back: records of protobuf in LevelDB's log format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

HEADER, BLOCK = 7, 32768
FULL, LAST = 1, 4


def read_wandb_run(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the history, a dict a row, and the configuration."""
    history, config = [], {}
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "history":
            history.append({_key(item): json.loads(item.value_json) for item in record.history.item})
        elif kind in ("config", "run"):
            update = record.config.update if kind == "config" else record.run.config.update
            config |= {_key(item): json.loads(item.value_json) for item in update}
    return history, config


def _key(item: Any) -> str:
    return item.key or "/".join(item.nested_key)


def _records(data: bytes):
    position, parts = HEADER, []
    while position + 7 <= len(data):
        if BLOCK - position % BLOCK < 7:  # too little room for a header: padding
            position += BLOCK - position % BLOCK
            continue
        length, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        parts.append(data[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = []
