"""Closures: which optimizers need one for their step, as LBFGS and sharpness-aware minimization do."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Sequence
from typing import Any


def requires_closure(optimizer: Any) -> bool:
    """Whether ``optimizer.step`` needs a closure.

    It does if its parameter ``closure`` has no default; and outside of torch, if its code calls or demands the closure
    where it is None, as that of sharpness-aware minimization. Code that cannot be read is given a closure.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimizer.

    Returns
    -------
    bool
        Whether a step without a closure would fail.
    """
    return _requires(type(optimizer).step)


@functools.lru_cache(maxsize=128)
def _requires(step: Callable[..., Any]) -> bool:
    parameter = inspect.signature(step).parameters.get("closure")
    if parameter is None or parameter.default is inspect.Parameter.empty:
        return parameter is not None
    function = inspect.unwrap(step)
    if (getattr(function, "__module__", None) or "").startswith("torch.optim"):
        return False
    try:
        definition = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError):
        return True
    return not isinstance(definition, ast.FunctionDef) or _demands(definition.body)[0]


def _demands(body: Sequence[ast.stmt]) -> tuple[bool, bool]:
    """Return whether statements fail without a closure, and whether they return without one."""
    for statement in body:
        if isinstance(statement, ast.Assert) and _mentions(statement.test):
            return True, False
        if isinstance(statement, ast.If) and _mentions(statement.test):
            without = statement.body if _is_without(statement.test) else statement.orelse
            if any(isinstance(inner, ast.Raise) for inner in without):
                return True, False
            if any(isinstance(inner, ast.Return) for inner in without):
                return False, True
            if _assigns(without):  # another closure takes its place
                return False, True
            continue
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            continue
        blocks = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
        if any(blocks):
            if _calls(_head(statement)):
                return True, False
            for block in blocks:
                fails, returns = _demands(block)
                if fails or returns:
                    return fails, returns
        elif _calls([statement]):
            return True, False
        elif _assigns([statement]):
            return False, True
    return False, False


def _head(statement: ast.stmt) -> list[ast.AST]:
    """Return what a compound statement evaluates before its blocks."""
    blocks = {id(inner) for name in ("body", "orelse", "finalbody") for inner in getattr(statement, name, [])}
    return [node for node in ast.iter_child_nodes(statement) if id(node) not in blocks]


def _is_without(test: ast.expr) -> bool:
    """Whether a condition on the closure holds where it is None: ``closure is None``, ``not closure``."""
    if isinstance(test, ast.Compare):
        return isinstance(test.ops[0], (ast.Is, ast.Eq))
    return isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)


def _mentions(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id == "closure" for inner in ast.walk(node))


def _assigns(statements: Sequence[ast.stmt]) -> bool:
    targets = [target for s in statements if isinstance(s, ast.Assign) for target in s.targets]
    return any(isinstance(target, ast.Name) and target.id == "closure" for target in targets)


def _calls(nodes: Sequence[ast.AST]) -> bool:
    """Whether nodes call the closure, or wrap it by a decorator that is called with it, unconditionally."""
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.IfExp, ast.BoolOp)) and _mentions(node):
            continue
        if isinstance(node, ast.Call):
            is_call = isinstance(node.func, ast.Name) and node.func.id == "closure"
            is_decorated = isinstance(node.func, ast.Call) and any(_mentions(value) for value in node.args)
            if is_call or is_decorated:
                return True
        pending += ast.iter_child_nodes(node)
    return False
