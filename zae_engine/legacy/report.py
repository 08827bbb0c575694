"""Report: sentences about the copy of 0.7.6 that is in use, and about leftovers of other installations."""

from __future__ import annotations

import os

from . import fetch, hints, places


def copy_in_use() -> tuple[bool, list[str]]:
    """Return whether a complete copy is found, and the sentences that say which it is and what is wrong with it."""
    given, found = os.environ.get(places.VARIABLE), places.find()
    if given and found is None:
        return False, [f"{places.VARIABLE}={given!r} names no folder with a copy of zae-engine {places.VERSION}."]
    if found is None:
        return False, [f"There is no copy of zae-engine {places.VERSION}; `{hints.INSTALL}` fetches it."]
    by = f", by {places.VARIABLE}" if given else ""
    sentences = [f"zae-engine {places.VERSION}: {', '.join(places.PARTS)} come from {found}{by}."]
    is_whole = bool(given) or fetch.is_whole(os.path.dirname(found))
    if not is_whole:
        sentences.append(f"Files of it are missing or have been changed; `{hints.INSTALL}` replaces it.")
    return is_whole, sentences + hints.not_importable()


def leftovers() -> list[str]:
    """Return a sentence for each folder or file that another installation of zae-engine has left behind."""
    return [
        f"{path} is left over from another installation and is not used: delete it and reinstall zae-engine, "
        f"or other programs may take it for a part of this version."
        for path in places.leftovers()
    ]
