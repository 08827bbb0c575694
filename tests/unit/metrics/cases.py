"""Compute every metric of 0.7.6 on random inputs, with one of the two packages: ``cases.py upstream|ours FILE``."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch


def pairs(seed: int, high: int, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, and others of which a half is the same."""
    random = np.random.default_rng(seed)
    true = random.integers(0, high, shape)
    return true, np.where(random.random(shape) < 0.5, true, random.integers(0, high, shape))


def sequences(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of 600 positions in runs of all lengths, and others that are shifted and changed here and there."""
    random = np.random.default_rng(seed)
    true = np.repeat(random.integers(0, 5, 60), random.integers(1, 25, 60))[:600]
    predicted = np.roll(true, int(random.integers(0, 6)))
    for start in random.integers(0, len(true) - 20, 8):
        predicted[start : start + int(random.integers(1, 20))] = random.integers(0, 5)
    return predicted, true


def bijective(metrics: Any, predicted: Any, true: Any) -> dict[str, Any]:
    result = metrics.BijectiveMetrix(predicted, true, num_classes=4, th_run_length=3)
    kinds = ("run_pair", "mat", "count", "f1", "acc")
    values = {f"{v}_{k}": getattr(result, f"{v}_{k}") for v in ("bijective", "injective", "surjective") for k in kinds}
    runs = {n: [(r.start_index, r.end_index, r.value) for r in getattr(result, n)] for n in ("pred_runs", "label_runs")}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result.summary(["no", "a", "b", "c", "d"])
    arrays = {"pred_array": result.pred_array, "label_array": result.label_array}
    sense = (result.pred_run_list.sense, result.pred_run_list.original_length, len(result.pred_run_list.raw()))
    return {**values, **runs, **arrays, "sense": sense, "printed": printed.getvalue()}


def printed(metrics: Any, *args: Any, **kwargs: Any) -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        metrics.print_confusion_matrix(*args, **kwargs)
    return text.getvalue()


def compute(metrics: Any, signals: Any, count: Any) -> dict[str, Any]:
    """Return every result under a name that says how it came about."""
    found: dict[str, Any] = {}
    random = np.random.default_rng(0)
    for seed in range(5):
        for kind, convert in (("numpy", lambda array: array), ("torch", lambda array: torch.from_numpy(array.copy()))):
            at = f"{kind} {seed}"
            true, predicted = (convert(array) for array in pairs(seed, 6, 200))
            columns = [convert(array) for array in pairs(seed, 6, 50, 3)]
            few = [convert(array) for array in pairs(seed, 2, 40)]
            found[f"accuracy, {at}"] = metrics.accuracy(true, predicted)
            found[f"accuracy of columns, {at}"] = metrics.accuracy(*columns)
            found[f"Acc, {at}"] = count.Acc()(true, predicted)
            scores = random.random((200, 6)).astype(np.float32) if kind == "numpy" else torch.rand(200, 6)
            found[f"Acc of scores, {at}"] = count.Acc()(true, scores)
            for k in (1, 2, 5):
                found[f"top {k}, {at}"] = count.Acc.top_k_accuracy(true, convert(one_hot(seed)), k)
            found[f"confusion, {at}"] = matrix = metrics.confusion_matrix(predicted, true, 6)
            found[f"confusion, absent classes, {at}"] = metrics.confusion_matrix(predicted, true, 9)
            found[f"printed, {at}"] = printed(metrics, matrix if kind == "torch" else matrix.numpy())
            found[f"printed with names, {at}"] = printed(metrics, matrix, 6, list("abcdef"), False)
            for average in ("micro", "macro"):
                for beta in (0.5, 1.0, 2.0):
                    at_all = f"{average} {beta}, {at}"
                    found[f"f_beta {at_all}"] = metrics.f_beta(predicted, true, beta, 6, average)
                    found[f"f_beta, absent classes {at_all}"] = metrics.f_beta(predicted, true, beta, 9, average)
                    counts = matrix if kind == "torch" else matrix.numpy()
                    found[f"f_beta_from_mat {at_all}"] = metrics.f_beta_from_mat(counts, beta, 6, average)
            found[f"miou, {at}"] = metrics.miou(true, predicted)
            found[f"miou of rows, {at}"] = metrics.miou(*columns)
            found[f"miou of two labels, {at}"] = metrics.miou(*few)
            intervals = [convert(np.sort(array, 1)) for array in pairs(seed, 50, 30, 2)]
            found[f"giou, {at}"] = metrics.giou(*intervals)
            found[f"giou with iou, {at}"] = metrics.giou(*intervals, iou=True)
            found[f"giou of one, {at}"] = metrics.giou(intervals[0][0], intervals[1][0])
            signal, noise = (convert(np.random.default_rng(seed + i).normal(size=300)) for i in (0, 9))
            found[f"rms, {at}"] = metrics.rms(signal)
            found[f"mse, {at}"] = metrics.mse(signal, noise)
            found[f"mse of rows, {at}"] = metrics.mse(signal.reshape(3, 100), noise.reshape(3, 100))
            found[f"signal_to_noise, {at}"] = metrics.signal_to_noise(signal, noise)
            found[f"signal_to_noise of silence, {at}"] = metrics.signal_to_noise(signal, noise * 0)
            found[f"peak_signal_to_noise, {at}"] = metrics.peak_signal_to_noise(signal, noise)
            found[f"peak_signal_to_noise of the same, {at}"] = metrics.peak_signal_to_noise(signal, signal)
            found[f"peak_signal_to_noise, peak, {at}"] = metrics.peak_signal_to_noise(signal, noise, peak=5)
            window = convert(np.arange(1.0, 8.0))
            found[f"qilv, {at}"] = signals.qilv(signal, signal + noise / 4, window)
            found[f"qilv of the same, {at}"] = signals.qilv(signal, signal, window)
        found[f"bijective, {seed}"] = bijective(metrics, *sequences(seed))  # 0.7.6 fails on tensors
    found["bijective, nothing"] = bijective(metrics, np.zeros(30, int), np.zeros(30, int))
    found["bijective, nothing predicted"] = bijective(metrics, np.zeros(600, int), sequences(0)[1])
    return found


def one_hot(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((200, 6)).astype(np.float32)


def main(which: str, file: str) -> None:
    torch.manual_seed(0)
    if which == "upstream":
        sys.path.insert(0, str(Path(__file__).parents[2] / "parity"))
        import reference

        reference.install(reference.fetch())
    from zae_engine import metrics
    from zae_engine.metrics import count, signals

    torch.save(compute(metrics, signals, count), file)


if __name__ == "__main__":
    main(*sys.argv[1:])
