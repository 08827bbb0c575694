"""Files that were damaged after a save: every one is verified before anything of the trainer changes."""

from __future__ import annotations

import contextlib
import os
import random
import shutil

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from . import flip_bits
from .flip_bits import FILES, fingerprint, flipped, make, train, try_damages

EACH = [(save_format, name) for save_format, names in FILES.items() for name in names]


@pytest.mark.parametrize(("save_format", "name"), EACH)
def test_no_flipped_bit_is_loaded(tmp_path, save_format, name):
    """``python -m tests.integration.crash_safety.flip_bits`` tries 2,000 bits of each file."""
    folder, luck = str(tmp_path / "state"), random.Random(name)
    train(make(folder, save_format))
    assert try_damages(folder, name, save_format, lambda data: [flipped(data, luck) for _ in range(150)]) == 150


def test_no_bit_of_the_end_of_the_manifest_is_loaded(tmp_path):
    """The end holds the checksum of the file itself."""
    folder = str(tmp_path / "state")
    train(make(folder))

    def damages(data):
        for place in range(len(data) - 80, len(data)):
            for bit in range(8):
                yield data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]

    assert try_damages(folder, "trainer.zae", "ckpt", damages) == 80 * 8


@pytest.mark.parametrize(("save_format", "name"), EACH)
def test_no_file_that_is_cut_or_longer_is_loaded(tmp_path, save_format, name):
    folder = str(tmp_path / "state")
    train(make(folder, save_format))

    def damages(data):
        lengths = {0, 1, 8, len(data) // 2, *range(len(data) - 60, len(data)), *range(0, len(data), 97)}
        yield from (data[:length] for length in sorted(lengths))
        yield from (data + end for end in (b"\0", b"\n", b"more" * 100, data, data[-44:], bytes(4096)))

    expected = []
    assert try_damages(folder, name, save_format, lambda data: expected.extend(damages(data)) or expected) == len(
        expected
    )


@pytest.mark.parametrize(("save_format", "name"), EACH)
def test_no_file_of_another_save_is_loaded(tmp_path, save_format, name):
    folder = str(tmp_path / "state")
    trainer = train(make(folder, save_format))
    old = (tmp_path / "state" / name).read_bytes()
    train(trainer, 1)
    if name == "trainer.zae":  # the other files are not those that it lists
        other = train(make(str(tmp_path / "other"), save_format, seed=1), 1)
        (tmp_path / "state" / name).write_bytes(old)
        other.save_path = folder
        with pytest.warns(UserWarning, match=r"written after trainer\.zae"):
            other.load_state()
        assert other.progress_checker.get_epoch() == 2  # its own: of the old save, nothing is loaded
    else:
        assert try_damages(folder, name, save_format, lambda data: [old]) == 1


@pytest.mark.parametrize("place", ["stopped", ".saved"])
def test_the_states_beside_the_best_are_verified_too(tmp_path, place):
    folder, luck = tmp_path / "state", random.Random(place)
    train(make(str(folder)))
    names = [path.name for path in folder.iterdir()]
    (folder / place).mkdir()
    for name in names:
        shutil.copy(folder / name, folder / place / name)
        if place == "stopped":
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(b"what the save replaces")
    other = train(make(str(tmp_path / "other"), seed=1), 1)
    other.save_path = str(folder)
    before = fingerprint(other)
    for name in names:
        whole = (folder / place / name).read_bytes()
        for _ in range(40):
            (folder / place / name).write_bytes(flipped(whole, luck))
            with pytest.raises(ValueError, match=name.replace(".", r"\.")):
                other.load_state()
            assert fingerprint(other) == before
        (folder / place / name).write_bytes(whole)
    other.load_state()
    assert other.progress_checker.get_epoch() == 3


@pytest.mark.parametrize("name", ["model.ckpt", "optimizer.zae", "scheduler.zae"])
def test_files_without_a_manifest_are_verified_by_what_they_hold_themselves(tmp_path, name):
    """Bits between the parts of a zip file are not covered; they hold no data."""
    folder, luck = tmp_path / "state", random.Random(name)
    train(make(str(folder)))
    (folder / "trainer.zae").unlink()
    expected = make(str(folder), seed=2)
    expected.load_state()
    other = make(str(folder), seed=3)
    other.load_state()
    assert fingerprint(other) == fingerprint(expected)
    whole, loaded = (folder / name).read_bytes(), 0
    for _ in range(150):
        (folder / name).write_bytes(flipped(whole, luck))
        with contextlib.suppress(ValueError):
            other.load_state()
            loaded += 1
        assert fingerprint(other) == fingerprint(expected)
    assert loaded < 150 if name == "model.ckpt" else loaded == 0


def test_a_damaged_model_that_is_the_only_file_is_refused(tmp_path):
    trainer = flip_bits.Saving(torch.nn.Linear(4, 1), "cpu", mode="test", save_path=str(tmp_path))
    trainer.save_state()
    path = tmp_path / "model.ckpt"
    path.write_bytes(flipped(path.read_bytes(), random.Random(0)))
    with pytest.raises(ValueError, match=r"'model\.ckpt' .* is damaged"):
        trainer.load_state()


@pytest.mark.parametrize("kind", ["weights", "checkpoint"])
def test_weights_and_lightning_checkpoints_are_checked_by_the_checksums_within(tmp_path, kind):
    """A zip file has a checksum for each of its parts: no other number is loaded."""
    luck = random.Random(kind)
    trainer = make(str(tmp_path / "state"))
    trainer.callbacks.append(ModelCheckpoint(tmp_path, "last"))
    train(trainer, 1)
    path = tmp_path / "last.ckpt"
    if kind == "weights":
        trainer.save_model(path)
    before = fingerprint(trainer)
    whole, damaged = path.read_bytes(), 0
    start = whole.index(trainer.model[0].weight.detach().numpy().tobytes())  # the first tensor of the model
    for _ in range(60):
        place = luck.randrange(start * 8, (start + 48) * 8)
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(bytes(changed))
        with pytest.raises(ValueError, match=r"last\.ckpt.*is damaged"):
            trainer.apply_weights(path) if kind == "weights" else trainer.run(0, [torch.ones(5, 4)], ckpt_path=path)
        assert fingerprint(trainer) == before
        damaged += 1
    path.write_bytes(whole)
    trainer.apply_weights(path) if kind == "weights" else trainer.run(0, [torch.ones(5, 4)], ckpt_path=path)
    assert damaged == 60


def test_files_of_torch_without_checksums_load(tmp_path):
    trainer = make(str(tmp_path / "state"))
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        trainer.save_model(tmp_path / "weights.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    trainer.apply_weights(tmp_path / "weights.pt")
    assert os.listdir(tmp_path / "state") == []
