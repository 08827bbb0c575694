"""Loggers are judged by settings alone; no key is shown, and nothing goes over the network."""

from __future__ import annotations

import base64
import json
import socket

import pytest

from zae_engine.cli import loggers

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    import os

    for name in [name for name in os.environ if name.startswith(("WANDB_", "NEPTUNE_")) or name == "NETRC"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def refuse(*_, **__):
        raise AssertionError("a network call")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path


def finding_of(name):
    [finding] = [finding for finding in loggers.loggers() if finding.text.split()[0] == name]
    assert KEY not in f"{finding}"
    return finding.grade, " ".join(finding.text.split()), finding.remedy


def test_wandb_without_a_login_has_two_remedies():
    remedy = "run `wandb login`, or set WANDB_MODE=offline"
    assert finding_of("wandb") == ("note", "wandb online, but there is no login for api.wandb.ai", remedy)


def test_wandb_finds_the_key_in_the_environment(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert finding_of("wandb") == ("ok", "wandb online, login for api.wandb.ai by WANDB_API_KEY", None)


def test_wandb_finds_the_key_in_netrc(home, monkeypatch):
    (home / ".netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {KEY}\n")
    (home / ".netrc").chmod(0o600)
    assert finding_of("wandb") == ("ok", f"wandb online, login for api.wandb.ai by {home}/.netrc", None)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example:8080")
    assert finding_of("wandb")[1] == "wandb online, but there is no login for wandb.example"
    (home / "other").write_text(f"machine wandb.example:8080\n  login user\n  password {KEY}\n")
    (home / "other").chmod(0o600)
    monkeypatch.setenv("NETRC", str(home / "other"))
    assert finding_of("wandb")[1] == f"wandb online, login for wandb.example by {home}/other"


def test_a_broken_netrc_is_no_login(home):
    (home / ".netrc").write_text("machine\nnonsense")
    assert finding_of("wandb")[0] == "note"


@pytest.mark.parametrize("place", ["variable", "folder", "user"])
def test_wandb_offline_needs_no_login(place, home, monkeypatch):
    settings = {"folder": home / "wandb" / "settings", "user": home / ".config" / "wandb" / "settings"}.get(place)
    if settings is None:
        monkeypatch.setenv("WANDB_MODE", "offline")
    else:
        settings.parent.mkdir(parents=True)
        settings.write_text("[default]\nmode = offline\n")
    grade, text, _ = finding_of("wandb")
    assert grade == "ok"
    assert text.startswith("wandb offline, by ")


@pytest.mark.parametrize(("name", "value"), [("WANDB_MODE", "disabled"), ("WANDB_DISABLED", "true")])
def test_wandb_that_logs_nothing_is_a_note(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    assert finding_of("wandb") == (
        "note",
        f"wandb disabled, by {name}: nothing is logged",
        f"remove it from {name} to log",
    )


def token(address):
    return base64.b64encode(json.dumps({"api_address": address, "api_key": KEY}).encode()).decode()


def test_neptune_names_what_is_not_set(monkeypatch):
    assert finding_of("neptune")[1] == "neptune NEPTUNE_API_TOKEN and NEPTUNE_PROJECT not set"
    monkeypatch.setenv("NEPTUNE_PROJECT", "team/project")
    assert finding_of("neptune")[1] == "neptune NEPTUNE_API_TOKEN not set"
    monkeypatch.setenv("NEPTUNE_API_TOKEN", token("https://neptune.example"))
    assert finding_of("neptune") == ("ok", "neptune token and project are set, the server is neptune.example", None)


@pytest.mark.parametrize("given", [token("https://app.neptune.ai"), "no token"])
def test_neptune_s_hosted_service_has_ended(given, monkeypatch):
    monkeypatch.setenv("NEPTUNE_PROJECT", "team/project")
    monkeypatch.setenv("NEPTUNE_API_TOKEN", given)
    grade, text, remedy = finding_of("neptune")
    assert (grade, text) == ("note", "neptune the hosted service has ended: runs are recorded offline")
    assert "NEPTUNE_MODE=offline" in remedy


def test_neptune_offline_needs_nothing(monkeypatch):
    monkeypatch.setenv("NEPTUNE_MODE", "offline")
    assert finding_of("neptune") == ("ok", "neptune offline, by NEPTUNE_MODE", None)
