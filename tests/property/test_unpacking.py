"""Batches of any structure reach the step as in zae-engine 0.7.6."""

from __future__ import annotations

import base64
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.parity import reference
from zae_engine.trainer import Trainer

from .unpacking import Pair, received

pytestmark = pytest.mark.timeout(400)  # a fixture runs many processes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def upstream():
    command = [sys.executable, "-m", "tests.property.unpacking", str(ROOT), str(reference.fetch())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:

        def ask(batch):
            process.stdin.write(base64.b64encode(pickle.dumps(batch)).decode() + "\n")
            process.stdin.flush()
            return pickle.loads(base64.b64decode(process.stdout.readline()))

        yield ask
        process.stdin.close()


shapes = st.lists(st.integers(0, 3), min_size=0, max_size=3)
tensors = st.builds(
    lambda shape, dtype: torch.arange(int(np.prod(shape, dtype=int))).reshape(shape).to(dtype),
    shapes,
    st.sampled_from([torch.float32, torch.int64, torch.bool, torch.float16]),
)
plain = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(-1, 1), st.text(max_size=4), st.binary(max_size=3)
)
leaves = st.one_of(tensors, plain, st.builds(np.arange, st.integers(0, 3)))
names = st.text("abcxyz_", min_size=1, max_size=4)


def containers(inner):
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.builds(Pair, inner, inner),
        st.dictionaries(names, inner, max_size=3),
        st.dictionaries(names, inner, max_size=3).map(OrderedDict),
    )


flat = containers(leaves)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(batch=st.one_of(flat, tensors))
def test_a_step_receives_what_it_received_in_0_7_6(upstream, batch):
    assume(not (isinstance(batch, dict) and not batch))  # {} came as None
    expected = upstream(batch)
    assume(expected != "error")  # what 0.7.6 cannot take may work here
    assert received(Trainer, batch) == expected


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(batch=containers(st.recursive(leaves, containers, max_leaves=6)))
def test_nested_batches_reach_the_step_with_their_values(upstream, batch):
    assume(not (isinstance(batch, dict) and not batch))  # {} came as None
    expected = upstream(batch)
    assume(expected != "error")
    assert received(Trainer, batch) == expected
