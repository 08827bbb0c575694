"""The README's Python runs as it stands, from top to bottom."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from torch.utils.data import DataLoader, TensorDataset


def test_python_blocks_of_the_readme_run(tmp_path, monkeypatch):
    text = (Path(__file__).parents[3] / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 3
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    names: dict[str, object] = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for block in blocks:
            exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "model.pt").exists()
    assert (tmp_path / "checkpoints" / "model.ckpt").exists()
    trainer = names["trainer"]
    assert len(trainer.get_loss_history("train")) == 50
    check_that_the_module_written_by_hand_trains_alike(names)


def check_that_the_module_written_by_hand_trains_alike(names: dict[str, Any]) -> None:
    data = DataLoader(TensorDataset(names["x"], names["y"]), 64)
    ends = []
    for is_hand_written in (True, False):
        torch.manual_seed(0)
        model = torch.nn.Linear(10, 2)
        if is_hand_written:
            silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
            L.Trainer(max_epochs=2, accelerator="cpu", **silent).fit(names["MyModule"](model), data)
        else:
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
            names["MyTrainer"](model, "cpu", "train", optimizer, log_bar=False).run(2, data)
        ends.append(model.weight)
    assert torch.equal(*ends)


def test_the_script_for_several_devices_runs(tmp_path):
    text = (Path(__file__).parents[3] / "README.md").read_text()
    [script] = [block for block in re.findall(r"```py\n(.*?)```", text, re.DOTALL) if "MultiGPUTrainer" in block]
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["160"]
    assert "Warning" not in done.stderr
    assert (tmp_path / "dummy_model_mgpu.pth").exists()


def test_the_two_commands_name_sessions_that_exist():
    root = Path(__file__).parents[3]
    commands = re.findall(r"```bash\n(python3 -m pip install nox && .*)\n```", (root / "README.md").read_text())
    assert len(commands) == 2
    noxfile = (root / "noxfile.py").read_text()
    for command in commands:
        assert f"def {command.split('-s ')[1]}(" in noxfile


def outline(name: str) -> tuple[list[str], list[str], list[int], list[str]]:
    """Return what the READMEs have in common: code, levels of headings, rows of tables, and where links lead to."""
    text = (Path(__file__).parents[3] / name).read_text()
    code = re.findall(r"^```.*?^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^(#+) ", prose, re.MULTILINE)
    rows = [line.count("|") for line in prose.splitlines() if line.startswith("|")]
    links = sorted(set(re.findall(r"\]\(((?!#|README)[^)]+)\)", prose)))
    return code, headings, rows, links


def test_the_korean_readme_has_the_same_code_headings_tables_and_links():
    for korean, english in zip(outline("README.ko.md"), outline("README.md"), strict=True):
        assert korean == english


def test_links_within_the_readmes_lead_somewhere():
    for name in ("README.md", "README.ko.md"):
        text = (Path(__file__).parents[3] / name).read_text()
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors
        for path in re.findall(r"\]\(((?!#|http)[^)]+)\)", text):
            assert (Path(__file__).parents[3] / path).exists(), path
