"""Neptune fields: a free path in a run for each key that is logged."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any


class FieldPaths:
    """The paths of a run's fields.

    Neptune keeps fields in a tree: a field ``a`` excludes a field ``a/b``, and a field holds values of one type. It
    rejects, or rounds, what does not fit. A key whose path is not free gets an underscore at the part that is taken:
    beside ``a``, the key ``a/b`` is written to ``a_/b``; beside ``a/b``, the key ``a`` is written to ``a_``. One
    warning for each such key names both.

    Parameters
    ----------
    run : neptune.Run
        The run; its fields of earlier sessions count.
    """

    def __init__(self, run: Any) -> None:
        self._run = run
        self._paths: dict[tuple[str, str], str] = {}
        self._keys: dict[str, str] = {}

    def path(self, key: str, field_type: str) -> str:
        """Return the path for a key.

        Parameters
        ----------
        key : str
            The key, with slashes between its parts.
        field_type : str
            The class of the field: ``"FloatSeries"``, ``"StringSeries"``, ``"Integer"``, ``"Float"``, ``"Boolean"`` or
            ``"String"``.

        Warns
        -----
        UserWarning
            If the path is not the key.
        """
        path = self._paths.get((key, field_type))
        if path is None:
            path = self._paths[key, field_type] = self._free_path(key, field_type)
            self._keys[path] = key
        return path

    def _free_path(self, key: str, field_type: str) -> str:
        parts = [part for part in str(key).split("/") if part] or ["_"]
        conflict = ""
        for index in range(len(parts)):
            is_last = index == len(parts) - 1
            while reason := self._conflict("/".join(parts[: index + 1]), key, field_type if is_last else None):
                conflict = conflict or reason
                parts[index] += "_"
        path = "/".join(parts)
        if conflict:
            warnings.warn(
                f"Neptune cannot hold the key {key!r} beside {conflict}; its values are logged under {path!r}.",
                stacklevel=2,
            )
        return path

    def _conflict(self, path: str, key: str, field_type: str | None) -> str:
        """Return what makes a path unusable for a field, or, if the type is None, for a namespace."""
        other = self._keys.get(path, key)
        get_attribute = getattr(self._run, "get_attribute", None)
        found = get_attribute(path) if get_attribute is not None else None
        if isinstance(found, Mapping):
            return "" if field_type is None or not found else f"{_first_field(path, found)!r}"
        if field_type is None:
            return "" if found is None else f"{other if other != key else path!r}"
        if other != key:
            return f"{other!r}, which has the same path"
        if found is not None and type(found).__name__ != field_type:
            return f"the field {path!r}, which holds values of another type ({type(found).__name__})"
        return ""


def _first_field(path: str, namespace: Mapping[str, Any]) -> str:
    """Return the path of a field in a namespace."""
    for name, value in namespace.items():
        return _first_field(f"{path}/{name}", value) if isinstance(value, Mapping) and value else f"{path}/{name}"
    return path
