"""Loggers: whether Weights & Biases and Neptune have what they need, read from settings without a network call."""

from __future__ import annotations

import base64
import configparser
import json
import netrc
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from .findings import Finding

WANDB_ADDRESS = "https://api.wandb.ai"
NEPTUNE_HOSTED = "app.neptune.ai"
TRUE = ("1", "true", "yes", "on")


def loggers() -> Iterator[Finding]:
    """Yield a finding for each logger."""
    yield _wandb() if find_spec("wandb") else Finding(f"{'wandb':<20}not installed", "note")
    yield _neptune() if find_spec("neptune") else Finding(f"{'neptune':<20}not installed", "note")


def _wandb() -> Finding:
    name = f"{'wandb':<20}"
    mode, source = _wandb_setting("mode")
    if os.environ.get("WANDB_DISABLED", "").lower() in TRUE:
        mode, source = "disabled", "WANDB_DISABLED"
    if mode in ("offline", "dryrun"):
        return Finding(f"{name}offline, by {source}: runs stay in the folder wandb, `wandb sync` sends them")
    if mode == "disabled":
        return Finding(f"{name}disabled, by {source}: nothing is logged", "note", f"remove it from {source} to log")
    address = _wandb_setting("base_url")[0] or WANDB_ADDRESS
    login = _wandb_login(address)
    host = urlsplit(address).hostname or WANDB_ADDRESS
    if login is None:
        remedy = "run `wandb login`, or set WANDB_MODE=offline"
        return Finding(f"{name}online, but there is no login for {host}", "note", remedy)
    return Finding(f"{name}online, login for {host} by {login}")


def _wandb_setting(name: str) -> tuple[str | None, str]:
    """Return a setting and where it stands: the environment, the settings of this folder, those of the user."""
    if value := os.environ.get(f"WANDB_{name.upper()}"):
        return value, f"WANDB_{name.upper()}"
    folder = Path(os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb").expanduser()
    for file in (Path("wandb", "settings"), folder / "settings"):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue
        if value := parser.get("default", name, fallback=None):
            return value, str(file)
    return None, ""


def _wandb_login(address: str) -> str | None:
    """Return where the key for a server stands; None if there is none. The key itself is not looked at."""
    for variable in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        if os.environ.get(variable):
            return variable
    given = os.environ.get("NETRC")
    for file in [Path(given).expanduser()] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            if netrc.netrc(str(file)).authenticators(urlsplit(address).netloc):
                return str(file)
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
            continue
    return None


def _neptune() -> Finding:
    name, mode = f"{'neptune':<20}", os.environ.get("NEPTUNE_MODE", "async")
    if mode in ("offline", "debug"):
        return Finding(f"{name}{mode}, by NEPTUNE_MODE")
    needed = ("NEPTUNE_API_TOKEN", "NEPTUNE_PROJECT")
    missing = [variable for variable in needed if not os.environ.get(variable)]
    if missing:
        remedy = 'set them, or give api_tkn and project_name to web_logger["neptune"]; NEPTUNE_MODE=offline needs none'
        return Finding(f"{name}{' and '.join(missing)} not set", "note", remedy)
    host = _neptune_host(os.environ["NEPTUNE_API_TOKEN"])
    if host == NEPTUNE_HOSTED:
        remedy = "set NEPTUNE_MODE=offline, or NEPTUNE_API_TOKEN to a token of a server of yours"
        return Finding(f"{name}the hosted service has ended: runs are recorded offline", "note", remedy)
    return Finding(f"{name}token and project are set, the server is {host}")


def _neptune_host(token: str) -> str:
    """Return the host that a token names; that of the hosted service if the token names none."""
    try:
        address = json.loads(base64.b64decode(token, validate=True))["api_address"]
        return urlsplit(str(address)).hostname or NEPTUNE_HOSTED
    except (ValueError, KeyError, TypeError):
        return NEPTUNE_HOSTED
