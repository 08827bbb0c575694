"""Launcher: forked processes in notebooks and programs from stdin, spawned ones in scripts; where they connect."""

from __future__ import annotations

import logging
import multiprocessing
import socket
import subprocess
import sys
import textwrap

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from zae_lightning.launchers.launcher import _rendezvous, _serialize_trainer, _user_path, start_method
from zae_lightning.launchers.memory_file import has_memory_files
from zae_lightning.launchers.worker import Task

from zae_engine.trainer.distributed.world import World

CELLS = [
    """
    import torch, warnings
    from torch.utils.data import DataLoader, TensorDataset
    from zae_engine.trainer import Trainer
    from zae_engine.trainer.addons import MultiGPUAddon

    x = torch.randn(64, 200)
    data = TensorDataset(x, (x[:, 0] > 0).long())
    # The kernel has computed with several threads before it is forked.
    torch.nn.Linear(200, 2000)(torch.randn(500, 200)).relu().sum().backward()
    """,
    """
    class InACell(Trainer.add_on(MultiGPUAddon)):
        def train_step(self, batch):
            x, y = batch
            return {"loss": torch.nn.functional.cross_entropy(self.model(self.scale(x)), y)}

        def test_step(self, batch):
            return {**self.train_step(batch), "output": batch[0][:, 0]}

    model = torch.nn.Sequential(torch.nn.Linear(200, 500), torch.nn.ReLU(), torch.nn.Linear(500, 2))
    trainer = InACell(model, ["cpu", "cpu"], optimizer=torch.optim.Adam(model.parameters()))
    trainer.scale = lambda x: 2 * x  # a fork copies it
    trainer.run(3, DataLoader(data, 8, shuffle=True), DataLoader(data, 8))
    """,
    """
    print(len(trainer.get_loss_history()), trainer.progress_checker.get_epoch(), trainer.loss_buffer < 0.6)
    """,
    """
    trainer.run(1, DataLoader(data, 8, shuffle=True), DataLoader(data, 8))
    outputs = trainer.inference(DataLoader(data, 10))
    print(len(trainer.get_loss_history()), torch.equal(torch.cat(outputs), x[:, 0]), len(outputs))
    """,
]


def test_a_trainer_of_a_notebook_cell_trains_in_two_processes():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in CELLS])
    NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    printed = [
        "".join(output.text for output in cell.outputs if output.get("name") == "stdout") for cell in notebook.cells
    ]
    assert printed[2].split() == ["12", "4", "True"]
    assert printed[3].split() == ["16", "True", "7"]
    shown = "\n".join(output.get("data", {}).get("text/plain", "") for output in notebook.cells[1].outputs)
    assert shown.count("Epoch 3/3 | train_loss") == 1


def test_a_program_from_stdin_trains_in_two_processes():
    program = "\n".join(textwrap.dedent(cell) for cell in CELLS[:3])
    done = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.split() == ["12", "4", "True"]


def test_a_script_without_a_guard_gets_an_error_that_names_it(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text("\n".join(textwrap.dedent(cell) for cell in CELLS[:2]).replace("lambda x: 2 * x", "torch.abs"))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode != 0
    assert 'before it began. Is all that your script does under `if __name__ == "__main__":`?' in done.stderr
    assert "imports the script and starts the run again" in done.stderr  # fails if multiprocessing renames _inheriting


def test_a_script_spawns_its_processes_and_an_interactive_session_forks_them(monkeypatch, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    assert start_method(torch.device("cpu")) == "spawn"
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert start_method(torch.device("cpu")) == "fork"


def test_without_a_fork_an_interactive_session_gets_an_error(monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(RuntimeError, match="this system has no fork"):
        start_method(torch.device("cpu"))


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("trainer['model']", "trainer.model"),
        ("trainer['helper']['lock']", "trainer.helper['lock']"),
        ("arguments[1].dataset", "loader.dataset"),
        ("arguments[2]", "valid_loader"),
        ("function", "function"),
    ],
)
def test_paths_in_errors_are_in_the_users_notation(path, shown):
    assert _user_path(path) == shown


def test_processes_connect_at_a_free_port_or_at_the_address_of_the_user():
    task = Task(0, [World(0, 1, 0, 1)], b"", b"", {}, 1, "spawn")
    with _rendezvous([task], None):
        host, port = task.store_address
        assert (host, task.init_method) == ("127.0.0.1", None)
        socket.create_connection((host, port)).close()
        with (
            pytest.raises(RuntimeError, match=f"cannot listen at port {port}.*give another port"),
            _rendezvous([task], f"tcp://{host}:{port}"),
        ):
            pass
    with _rendezvous([task], f"tcp://{host}:{port}"):  # the port is free at once
        assert task.store_address == (host, port)
    task = Task(0, [World(0, 1, 0, 1)], b"", b"", {}, 1, "spawn")
    with _rendezvous([task], "file:///tmp/rendezvous"):
        assert (task.store_address, task.init_method) == (None, "file:///tmp/rendezvous")


@pytest.mark.skipif(not has_memory_files(), reason="files in memory are a part of Linux")
def test_without_memory_for_a_file_the_data_are_sent(make, caplog):
    import resource

    data, limits = torch.arange(2_000_000), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with caplog.at_level(logging.DEBUG, "zae_lightning"):
            _, call, memory = _serialize_trainer(make(), (print, (data,), {}), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert memory is None
    assert len(call) > data.nbytes
    assert "Each process gets its own copy of all data" in caplog.text
