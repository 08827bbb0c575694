"""Confusion: compute a confusion matrix, and print it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix

from .._errors import ContractError
from . import _inputs
from ._inputs import Values


def confusion_matrix(y_hat: Values, y_true: Values, num_classes: int) -> torch.Tensor:
    """Count how often each label was predicted for each right one.

    Parameters
    ----------
    y_hat : torch.Tensor or array-like
        The predicted labels, whole numbers from 0 to ``num_classes - 1``, of any shape.
    y_true : torch.Tensor or array-like
        The right labels, of the same shape.
    num_classes : int
        The number of classes C.

    Returns
    -------
    torch.Tensor
        Counts as float32, of shape (C, C), on the device of the labels: a row for each right label, a column for each
        predicted label.

    Raises
    ------
    ValueError
        If the shapes differ or a label is out of range. Also an `AssertionError`, as in 0.7.6.
    TypeError
        If the labels are no whole numbers.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import confusion_matrix
    >>> confusion_matrix(torch.tensor([0, 2, 2, 2, 0]), torch.tensor([0, 1, 2, 2, 1]), 3)
    tensor([[1., 0., 0.],
            [1., 0., 1.],
            [0., 0., 2.]])
    """
    y_hat = _inputs.classes(y_hat, "y_hat", num_classes)
    y_true = _inputs.classes(y_true, "y_true", num_classes)
    _inputs.same_shape(y_hat, y_true, ("y_hat", "y_true"))
    return multiclass_confusion_matrix(y_hat.reshape(-1), y_true.reshape(-1), num_classes, validate_args=False).float()


def print_confusion_matrix(
    conf_mat: Values, cell_width: int | None = 4, class_name: Sequence[str] | None = None, frame: bool | None = True
) -> None:
    """Print a confusion matrix as a table, with rich if it is installed, otherwise as plain text.

    Parameters
    ----------
    conf_mat : torch.Tensor or array-like
        Counts of shape (C, C): a row for each right label, a column for each predicted one.
    cell_width : int, optional
        The width of a cell in characters, by default 4.
    class_name : sequence of str, optional
        The names of the C classes; by default T0, T1, … and P0, P1, ….
    frame : bool, optional
        Whether rich draws lines, by default True.

    Raises
    ------
    ValueError
        If the matrix is not square, or there are not as many names. Also an `AssertionError`, as in 0.7.6.

    Examples
    --------
    >>> import torch
    >>> from zae_engine.metrics import print_confusion_matrix
    >>> print_confusion_matrix(torch.tensor([[5, 2], [1, 3]]), class_name=["cat", "dog"])  # doctest: +SKIP
    """
    matrix = _inputs.numbers(conf_mat, "conf_mat")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ContractError(f"conf_mat has the shape {tuple(matrix.shape)}: a square, (C, C), is expected.")
    if class_name is not None and len(class_name) != len(matrix):
        raise ContractError(f"class_name has {len(class_name)} names, but conf_mat is of {len(matrix)} classes.")
    rows = [[str(int(count)) for count in row] for row in matrix.tolist()]
    actual = list(class_name) if class_name is not None else [f"T{i}" for i in range(len(rows))]
    predicted = list(class_name) if class_name is not None else [f"P{i}" for i in range(len(rows))]
    try:
        import rich  # noqa: F401
    except ModuleNotFoundError:
        _print_plainly(rows, actual, predicted, cell_width or 0)
    else:
        _print_richly(rows, actual, predicted, cell_width, bool(frame))


def _print_richly(
    rows: list[list[str]], actual: list[str], predicted: list[str], cell_width: int | None, frame: bool
) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title="\n confusion_matrix",
        caption="row : [green]Actual[/green] column : [purple]Prediction[/purple]",
        header_style="bold magenta",
        box=box.SIMPLE if frame else None,
        leading=1,
        show_lines=True,
        min_width=64,
    )
    for i, name in enumerate(["", *predicted]):
        style = "green" if i == 0 else None
        table.add_column(name, justify="center", style=style, min_width=cell_width, max_width=cell_width)
    for i, (name, row) in enumerate(zip(actual, rows, strict=True)):
        table.add_row(name, *(f"[bold cyan]{count}" if i == j else count for j, count in enumerate(row)))
    Console().print(table)


def _print_plainly(rows: list[list[str]], actual: list[str], predicted: list[str], cell_width: int) -> None:
    table = [["", *predicted], *([name, *row] for name, row in zip(actual, rows, strict=True))]
    width = max(cell_width, *(len(cell) for row in table for cell in row))
    print("confusion_matrix (row: actual, column: prediction)")
    for row in table:
        print(" ".join(cell.rjust(width) for cell in row))
