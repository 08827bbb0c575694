"""The README's Python runs as it stands, from top to bottom, and prints what the README shows."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from .outline import outline

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
READMES = ("README.md", "README.ko.md")


def blocks(kind: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_python_blocks_of_the_readme_run_and_print_what_it_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first, *others = blocks("python")
    names: dict[str, object] = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        exec(compile(first, "README.md", "exec"), names)
        printed = capsys.readouterr().err
        history = names["trainer"].history
        for block in others:
            exec(compile(block, "README.md", "exec"), names)
    check_the_shown_lines(printed, history)
    assert (tmp_path / "model.pt").exists()
    assert names["logits"].shape == (5, 2)
    assert names["trainer"].callbacks[1].best_model_path


def check_the_shown_lines(printed: str, history: object) -> None:
    """Compare the README's lines with those of the run: the same words, and numbers close to the run's."""
    lines = {re.search(r"Epoch \d+/", line)[0]: line for line in printed.splitlines()}
    shown = [line for line in blocks("text")[0].splitlines() if line != "..."]
    assert len(shown) == 3
    for line in shown:
        real = lines[re.search(r"Epoch \d+/", line)[0]]
        words, real_words = (re.sub(r"\d+\.\d+", "", text[text.index("Epoch") :]) for text in (line, real))
        assert words == real_words
        numbers, real_numbers = ([float(n) for n in re.findall(r": (\d\.\d{4})", text)] for text in (line, real))
        assert numbers == pytest.approx(real_numbers, abs=0.05)


def test_the_block_for_several_devices_runs_in_two_processes(tmp_path):
    first, [block] = blocks("python")[0], blocks("py")
    definitions, start = first.split("trainer = MyTrainer(")[0], block.replace("cuda:0", "cpu").replace("cuda:1", "cpu")
    (tmp_path / "script.py").write_text(f"{definitions}{start}    print(len(trainer.history))\n")
    assert run_script(tmp_path) == ["10"]


def test_the_script_of_the_page_about_several_processes_runs(tmp_path):
    page = (ROOT / "docs" / "howto" / "several-processes.md").read_text()
    [script] = [block for block in blocks("py", page) if "MultiGPUTrainer" in block]
    (tmp_path / "script.py").write_text(script)
    assert run_script(tmp_path) == ["160"]
    assert (tmp_path / "dummy_model_mgpu.pth").exists()


def run_script(folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout.split()


def test_the_two_commands_name_sessions_that_exist():
    commands = re.findall(r"```bash\n(python3 -m pip install nox && .*)\n```", README)
    assert len(commands) == 2
    noxfile = (ROOT / "noxfile.py").read_text()
    for command in commands:
        assert f"def {command.split('-s ')[1]}(" in noxfile


def test_a_readme_is_short():
    for name in READMES:
        assert len((ROOT / name).read_text().splitlines()) <= 200


def test_the_korean_readme_has_the_same_code_headings_tables_and_links():
    english, korean = (outline((ROOT / name).read_text().replace("docs/ko/", "docs/")) for name in READMES)
    english.links.remove("README.ko.md")
    korean.links.remove("README.md")
    assert korean == english


def test_links_within_the_readmes_lead_somewhere():
    for name in READMES:
        for path in re.findall(r"\]\(((?!#|http)[^)]+)\)", (ROOT / name).read_text()):
            assert (ROOT / path).exists(), path
