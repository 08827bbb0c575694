"""Variables and paths are shown, secrets are not."""

from __future__ import annotations

import sys

import pytest

from zae_engine.cli import environment


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("WANDB_API_KEY", "abc", "set"),
        ("NEPTUNE_API_TOKEN", "eyJh", "set"),
        ("WANDB_IDENTITY_TOKEN_FILE", "/home/me/token", "set"),
        ("WANDB_PROJECT", "0123456789abcdef0123456789abcdef01234567", "set"),  # a key in the wrong variable
        ("WANDB_BASE_URL", "https://me:password@wandb.example/x", "https://wandb.example/x"),
        ("WANDB_MODE", "offline", "offline"),
        ("WANDB_API_KEY", "", ""),
        ("MASTER_ADDR", "10.0.0.1", "10.0.0.1"),
        (
            "CUDA_VISIBLE_DEVICES",
            "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6",
            "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6",
        ),
    ],
)
def test_a_value_is_shown_unless_it_is_a_secret(name, value, expected):
    assert environment.shown(name, value) == expected


def test_only_variables_that_matter_are_listed_in_order():
    given = {"WORLD_SIZE": "2", "PL_GLOBAL_SEED": "1", "HOME": "/home/me", "AWS_SECRET": "x", "MASTER_PORT": "29500"}
    assert [finding.text for finding in environment.variables(given)] == [
        "MASTER_PORT=29500",
        "PL_GLOBAL_SEED=1",
        "WORLD_SIZE=2",
    ]
    [finding] = environment.variables({"HOME": "/home/me"})
    assert finding.text.startswith("none")


def test_paths_name_python_and_the_packages():
    shown = {finding.text.split()[0]: finding.text for finding in environment.paths()}
    assert shown["Python"].endswith(sys.executable)
    assert shown["torch"].endswith("torch/__init__.py")
    assert shown["zae_engine"].endswith("zae_engine/__init__.py")
    assert "zae" in shown
