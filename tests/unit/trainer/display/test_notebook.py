"""Notebook screen: what a cell shows, and how often it is updated. A real kernel runs the cells."""

from __future__ import annotations

import re
import sys
import time

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.timeout(400)  # a fixture runs many processes

SETUP = """
import torch
from torch.utils.data import DataLoader, TensorDataset
from zae_engine.trainer import Trainer

class MyTrainer(Trainer):
    def train_step(self, batch):
        x, y = batch
        return {"loss": (self.model(x) - y).square().mean()}
    test_step = train_step

def make(**kwargs):
    model = torch.nn.Linear(2, 1)
    return MyTrainer(model, "cpu", optimizer=torch.optim.SGD(model.parameters(), 0.01), **kwargs)

loader = DataLoader(TensorDataset(torch.ones(8, 2), torch.ones(8, 1)), 4)
make().run(1, loader)
"""


class Counting(NotebookClient):
    """Records when each message of an output arrives."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.messages = []

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] in ("display_data", "update_display_data", "comm_open", "comm_msg", "stream"):
            self.messages.append((cell_index, msg["msg_type"], time.monotonic(), msg["content"]))
        return super().process_message(msg, cell, cell_index)


@pytest.fixture(scope="module")
def executed():
    cells = {
        "setup": SETUP,
        "many short epochs": "trainer = make(); trainer.run(1500, loader, loader)",
        "many runs": "import time\nstart = time.time()\nwhile time.time() < start + 2: trainer.run(1, loader)",
        "without a bar": "make(log_bar=False).run(2, loader)",
        "plot": "make(live_plot=True).run(20, loader)",
        "two runs apart": "make().run(1, loader); time.sleep(2.0); print('between'); make().run(1, loader)",
        "hidden bar": "make().run_epoch(loader); _ = make().inference(loader)",
        "failing": (
            "try: make().run(1, [(torch.ones(1, 2), torch.ones(1, 1)), None, 3])\nexcept TypeError as e: print(e)"
        ),
    }
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells.values()])
    broken = "type('Broken', (MyTrainer,), {'train_step': lambda self, batch: 1 / 0})"
    cells["raising"] = (
        f"{broken}(torch.nn.Linear(2, 1), 'cpu', optimizer=torch.optim.SGD([torch.ones(1)], 1)).run(1, loader)"
    )
    notebook.cells.append(nbformat.v4.new_code_cell(cells["raising"], metadata={"tags": ["raises-exception"]}))
    client = Counting(notebook, timeout=120, kernel_name="python3")
    client.execute()
    return {
        name: (cell.outputs, [m for m in client.messages if m[0] == index])
        for index, (name, cell) in enumerate(zip(cells, notebook.cells, strict=True))
    }


@pytest.mark.parametrize("cell", ["many short epochs", "many runs", "plot"])
def test_at_most_ten_messages_a_second(executed, cell):
    times = [moment for _, _, moment, _ in executed[cell][1]]
    assert times
    assert len(times) <= 10 * (times[-1] - times[0]) + 10


def test_nothing_is_a_widget(executed):
    kinds = {kind for _, messages in executed.values() for _, kind, _, _ in messages}
    assert not kinds & {"comm_open", "comm_msg"}


def texts(outputs):
    return [output.data["text/plain"] for output in outputs if output.output_type == "display_data"]


def test_the_last_state_has_the_first_and_the_latest_epochs_and_no_bar(executed):
    outputs, _ = executed["many short epochs"]
    (text,) = texts(outputs)
    lines = text.splitlines()
    assert lines[0].startswith("Epoch 1/1500 | train_loss")
    left_out = [int(line.split()[1]) for line in lines if line.startswith("… ")]
    assert len(lines) - len(left_out) + sum(left_out) == 1500
    assert lines[2].startswith("… ")
    assert any(line.endswith(" *") for line in lines[2:])  # the best
    assert lines[-1].startswith("Epoch 1500/1500 | train_loss")
    (output,) = outputs
    assert "<progress" not in output.data["text/html"]
    assert output.data["text/html"].startswith("<table>")
    assert ">train_loss</th>" in output.data["text/html"]
    assert ">1500</td>" in output.data["text/html"]
    assert output.data["text/html"].count(">best</td>") == 1


def test_runs_that_follow_one_another_share_an_output_and_the_last_is_shown(executed):
    (text,) = texts(executed["many runs"][0])
    assert sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("… ")) > 10
    assert text.splitlines()[-1].startswith("Epoch ")


def test_the_line_of_an_epoch_stands_where_the_run_is(executed):
    outputs, _ = executed["two runs apart"]
    assert [output.output_type for output in outputs] == ["display_data", "stream", "display_data"]


def test_a_bar_that_is_off_is_not_shown_and_the_lines_are(executed):
    outputs, messages = executed["without a bar"]
    assert len(texts(outputs)) == 1
    assert not any("<progress" in message[3]["data"].get("text/html", "") for message in messages)


def test_a_bar_that_is_over_leaves_no_text(executed):
    outputs, messages = executed["hidden bar"]
    assert any("<progress" in message[3]["data"].get("text/html", "") for message in messages)
    for output in outputs:
        assert "".join(output.data.values()) == ""


def test_the_plot_is_a_picture(executed):
    assert any("image/png" in output.data for output in executed["plot"][0] if output.output_type == "display_data")


def test_a_run_that_fails_leaves_no_bar(executed):
    outputs, _ = executed["failing"]
    assert not any("<progress" in output.get("data", {}).get("text/html", "") for output in outputs)
    assert any("cannot be unpacked" in output.get("text", "") for output in outputs)


def test_the_traceback_of_a_step_shows_the_users_frames(executed):
    (error,) = [output for output in executed["raising"][0] if output.output_type == "error"]
    lines = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback)).splitlines()
    frames = [line for line in lines if line.startswith(("Cell ", "File "))]
    assert len(frames) == 2
    assert all(frame.startswith("Cell ") for frame in frames)
    assert any("skipping hidden" in line for line in lines)
    if sys.version_info >= (3, 11):
        assert lines[-1] == "in train_step, epoch 1, batch 1: tuple of Tensor[4, 2] float32, Tensor[4, 1] float32"
