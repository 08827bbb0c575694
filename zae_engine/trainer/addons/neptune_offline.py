"""Neptune offline: reading runs that Neptune has recorded offline, for which no hosted service exists any more."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple


class Point(NamedTuple):
    """One entry of a series.

    Attributes
    ----------
    step : float or None
        The step that it was logged with.
    value : float or str
        What was logged.
    time : float
        When, in seconds since 1970.
    """

    step: float | None
    value: float | str
    time: float


class OfflineRun(dict[str, list[Point]]):
    """An offline run: a mapping from the names of its series to their points.

    Attributes
    ----------
    values_set : dict
        What was set once, such as ``parameters/optimizer``; the latest where it was set several times.
    """

    def __init__(self) -> None:
        super().__init__()
        self.values_set: dict[str, Any] = {}


def read_offline_run(path: str | os.PathLike[str]) -> OfflineRun:
    """Read a run that Neptune recorded offline. Neptune itself is not needed.

    Parameters
    ----------
    path : path
        The run's folder, such as ``.neptune/offline/run__1234...``, or one above it that holds a single run.

    Returns
    -------
    OfflineRun
        A mapping from names of series, ``"loss"`` for instance, to lists of `Point`; ``values_set`` has single values.
        A last line that was cut off when the program died is left out.

    Raises
    ------
    FileNotFoundError
        If there is no run.
    ValueError
        If there are several runs, or a file is no record of Neptune's.

    Examples
    --------
    >>> run = read_offline_run(".neptune/offline/run__1234")  # doctest: +SKIP
    >>> [point.value for point in run["loss"]]  # doctest: +SKIP
    [0.7, 0.6, 0.5]
    """
    files = sorted(Path(path).rglob("data-*.log"), key=lambda file: (str(file.parent), _number(file)))
    if not files:
        raise FileNotFoundError(f"There is no offline run of Neptune in {os.fspath(path)!r} (no data-*.log).")
    folders = sorted({str(file.parent) for file in files})
    if len(folders) > 1:
        raise ValueError(f"{os.fspath(path)!r} holds {len(folders)} runs; name one of them: {', '.join(folders)}.")
    run = OfflineRun()
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        for i, line in enumerate(lines):
            try:
                operation = json.loads(line)["obj"]
                _apply(run, operation)
            except (ValueError, KeyError, TypeError) as error:
                if file == files[-1] and i == len(lines) - 1:
                    break  # cut off
                raise ValueError(f"Line {i + 1} of {file} is no record of Neptune's: {line[:80]!r}") from error
    return run


def _apply(run: OfflineRun, operation: dict[str, Any]) -> None:
    name, kind = "/".join(operation["path"]), operation["type"]
    if kind in ("LogFloats", "LogStrings"):
        points = (Point(point["step"], point["value"], point["ts"]) for point in operation["values"])
        run.setdefault(name, []).extend(points)
    elif kind in ("ClearFloatLog", "ClearStringLog"):
        run.pop(name, None)
    elif kind.startswith("Assign"):
        run.values_set[name] = operation["value"]


def _number(file: Path) -> int:
    return int("".join(re.findall(r"\d+", file.stem)) or 0)
