"""torchrun restarts: the script goes on from its latest state; many random kills: see `kill_under_torchrun`.

Those that take most of a minute run in ``nox -s elastic`` only.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from .kill_under_torchrun import end, results, start, workers

pytestmark = pytest.mark.timeout(600)  # each attempt imports torch anew
takes_long = pytest.mark.skipif(os.environ.get("ZAE_ENGINE_ELASTIC") != "1", reason="nox -s elastic runs it")


@pytest.fixture
def agents() -> list[subprocess.Popen[str]]:
    """Return a list for agents that a test starts, which are killed after it with all of their processes."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for agent in started:
        if agent.poll() is None:
            for process in [*psutil.Process(agent.pid).children(recursive=True), psutil.Process(agent.pid)]:
                process.kill()
            agent.wait()


def output(folder: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("output*.txt")))


def wait_until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


@takes_long
def test_an_exception_in_the_validation_of_one_rank_restarts_both_until_the_end(tmp_path: Path, agents: list):
    """Each attempt raises in a later epoch: 0 in the second, 1 in the fourth."""
    torchrun = ["--nproc-per-node=2", "--max-restarts=3"]
    agents.append(start(tmp_path, "--epochs", "5", "--fail", "0:2", "1:4", torchrun=torchrun))
    assert end(agents[0], tmp_path) == (0, 0), output(tmp_path)
    found = results(tmp_path)
    assert found["rank0"] == found["rank1"]
    assert (found["rank0"]["attempt"], found["rank0"]["epochs"]) == (2, 5)
    assert "ValueError: of rank 1" in output(tmp_path)

    whole = tmp_path / "whole"
    whole.mkdir()
    agents.append(start(whole, "--epochs", "5", torchrun=torchrun))
    assert end(agents[1], whole) == (0, 0), output(whole)
    undisturbed = results(whole)["rank0"]
    assert undisturbed["attempt"] == 0
    assert found["rank0"]["losses"] == undisturbed["losses"]
    assert found["rank0"]["weights"] == undisturbed["weights"]


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=takes_long)])
def test_a_process_that_is_ended_is_started_again_and_the_training_goes_on(
    tmp_path: Path, agents: list, number: signal.Signals
):
    torchrun = ["--nproc-per-node=2", "--max-restarts=3"]
    agents.append(start(tmp_path, "--epochs", "20", "--pause", "0.02", torchrun=torchrun))
    wait_until((tmp_path / "state" / "trainer.zae").exists)
    workers(agents[0])[1].send_signal(number)
    assert end(agents[0], tmp_path) == (0, 0), output(tmp_path)
    found = results(tmp_path)
    assert found["rank0"] == found["rank1"]
    assert (found["rank0"]["attempt"], found["rank0"]["epochs"]) == (1, 20)


@takes_long
def test_a_node_that_joins_and_one_that_is_lost_change_the_number_of_processes(tmp_path: Path, agents: list):
    """A node is an agent on this machine: one trains alone, two train together, and one is killed with its process.

    Without the variable, torchrun (of torch 2.13) does not tell a node that joins later where rank 0 is.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    torchrun = [
        "--nnodes=1:2",
        "--nproc-per-node=1",
        "--max-restarts=3",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={endpoint}",
        "--rdzv-conf=join_timeout=60,last_call_timeout=1,timeout=60",
        "--local-addr=127.0.0.1",
    ]

    def size() -> int:
        """Return how many processes have trained the latest epoch."""
        path = tmp_path / "size.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else 0

    arguments = ("--epochs", "100", "--pause", "0.1", "--final", str(tmp_path / "final"))
    agents.append(start(tmp_path, *arguments, torchrun=torchrun, TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1"))
    wait_until(lambda: size() == 1)
    agents.append(start(tmp_path, *arguments, torchrun=torchrun, TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1"))
    wait_until(lambda: size() == 2)
    for process in [psutil.Process(agents[1].pid), *workers(agents[1])]:
        process.kill()
    wait_until(lambda: size() == 1)
    (tmp_path / "final").touch()
    assert end(agents[0], tmp_path) == (0, 0), output(tmp_path)
    found = results(tmp_path)["rank0"]
    assert found["epochs"] == 100
    assert (found["sizes"][0], found["sizes"][-1], set(found["sizes"])) == (1.0, 1.0, {1.0, 2.0})


def test_processes_that_have_loaded_different_states_get_an_error(tmp_path: Path, agents: list):
    torchrun = ["--nproc-per-node=2"]
    agents.append(start(tmp_path, "--epochs", "1", torchrun=torchrun))
    assert end(agents[0], tmp_path) == (0, 0), output(tmp_path)
    agents.append(start(tmp_path, "--epochs", "3", "--apart", torchrun=torchrun))
    assert end(agents[1], tmp_path) == (1, 0), output(tmp_path)
    assert "RuntimeError: The processes are to begin with different epochs (of ranks 0, 1, ...: [2, 1])" in output(
        tmp_path
    )
