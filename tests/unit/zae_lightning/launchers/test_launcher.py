"""Where processes are forked instead of spawned: in a notebook that runs, and in a program read from stdin."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import nbformat
from nbclient import NotebookClient

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
    trainer.scale = lambda x: 2 * x  # a fork takes that along
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


def test_a_script_without_a_guard_is_told_of_it(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text("\n".join(textwrap.dedent(cell) for cell in CELLS[:2]).replace("lambda x: 2 * x", "torch.abs"))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode != 0
    assert 'before it began. Is all that your script does under `if __name__ == "__main__":`?' in done.stderr
