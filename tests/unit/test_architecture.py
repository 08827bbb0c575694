"""Architecture: the rule of imports, the sizes of files, the words, and a unit test for each module."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"zae_engine": ROOT / "zae_engine", "zae_lightning": ROOT / "adapters" / "zae_lightning"}
TRAINER = "zae_engine.trainer"

LAYERS = [
    {"__init__"},
    {"_trainer"},
    {"loops"},
    {"display"},
    {"addons"},
    {"checkpoint"},
    {"checks", "overrides"},
    {"_protocol"},
    {"_state"},
    {"distributed", "epoch_summary", "comparison"},
    {"history"},
    {"logs", "plotting", "data", "utilities", "optim", "precision", "progress", "monitor"},
]
"""From top to bottom: a module imports its own layer and those below."""
IMPORT_THE_ADAPTER = {"loops", "checkpoint", "addons"}
IMPORT_ITS_TYPES = {"_trainer"}
OLD_NAMES = (
    *("Facade", "Amenities", "StepModule", "BatchModule", "surfaces", "original_of", "StepStopped", "LeanTrainer"),
    *("NoProfiler", "carry_on", "ExactLoader", "pass_over", "_is_rehearsal", "_as_outside", "_follow_optimizer"),
    *("_run_rest", "EpochBooks", "BarValues", "answering", "culprit", "anchors_of", "content_of", "details_of"),
    *("LEFT_OUT", "RelayLogger", "stand_ins", "carry_out", "_hurry", "_Reports", "_meeting_point", "Dealt", "_Hands"),
    *("_by_passing_over", "Ledger", "turn_to", "taking_part", "deal_out", "needs_processes", "waits_for_processes"),
    *("begin_logs", "merge_logs", "agree_on_metrics", "Trained", "is_first", "state_of", "can_go_on", "go_on"),
    *("LoggerFeed", "tell_of_failure", "Series", "_settle", "is_elsewhere", "is_alone", "lay_aside", "take_back"),
    *("singles", "Interrupts", "replace_file", "UnfitState", "copy_of", "of_processes"),
    *("has_model", "has_optimizer", "can_train", "RunHooks", "by_hand", "_own_epoch", "_close_books", "_laid_aside"),
    *("_let_go", "run_alone", "owns_batches", "strategy_has", "write_rest", "written_aside", "_move_out"),
    *("callback_makers", "to_resume", "told_of_one_device", "homecoming", "parcel", "amenities", "oddities"),
)
UNIT_TESTED = (TRAINER, "zae_engine.cli", "zae_lightning")
SCRIPTS = "zae_engine.cli.scripts."  # tests/unit/cli/test_example.py runs them
NO_UNIT_TEST = {"protocol", "_protocol"}
"""Modules without logic: their names, beside packages' ``__init__``."""


@cache
def modules() -> dict[str, Path]:
    found = {}
    for package, folder in PACKAGES.items():
        for file in folder.rglob("*.py"):
            parts = [package, *file.relative_to(folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@cache
def imports(module: str) -> set[str]:
    """Return what a module imports, in functions and for type checkers too, as full names."""
    file, found = modules()[module], set()
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                found.add(name if (name := f"{source}.{alias.name}") in modules() else source)
    return found


def own_imports(module: str) -> set[str]:
    return {name for name in imports(module) if name in modules()}


def cycle_from(module: str, path: tuple[str, ...], done: set[str]) -> list[str] | None:
    if module in path:
        return [*path[path.index(module) :], module]
    if module in done:
        return None
    for other in sorted(own_imports(module)):
        if found := cycle_from(other, (*path, module), done):
            return found
    done.add(module)
    return None


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_by_way_of_others(package):
    done: set[str] = set()
    for module in sorted(modules()):
        if module.split(".")[0] == package:
            cycle = cycle_from(module, (), done)
            assert cycle is None, " -> ".join(cycle)


def part_of(module: str) -> str | None:
    """Return the first name below the trainer's package; None for a module of another package."""
    if module == TRAINER:
        return "__init__"
    return module.split(".")[2] if module.startswith(f"{TRAINER}.") else None


def layer_of(part: str) -> int:
    return next(index for index, parts in enumerate(LAYERS) if part in parts)


def test_imports_go_down_through_the_layers():
    upwards = [
        f"{module} -> {other}"
        for module in modules()
        if (part := part_of(module)) is not None
        for other in own_imports(module)
        if (other_part := part_of(other)) is not None and layer_of(other_part) < layer_of(part)
    ]
    assert upwards == []


def test_only_the_adapter_imports_lightning():
    outside = [
        module
        for module in modules()
        if module.startswith("zae_engine")
        and any(re.match(r"(lightning|pytorch_lightning)(\.|$)", name) for name in imports(module))
    ]
    assert outside == []


def test_only_the_named_places_import_the_adapter_and_only_when_something_runs():
    for module, file in modules().items():
        if not module.startswith("zae_engine") or not any(n.split(".")[0] == "zae_lightning" for n in imports(module)):
            continue
        part = part_of(module)
        assert part in IMPORT_THE_ADAPTER | IMPORT_ITS_TYPES, module
        for node in ast.parse(file.read_text()).body:  # at the top level
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.split(".")[0] == "zae_lightning" for name in names), module


def test_the_adapter_does_not_import_the_facade():
    assert [m for m in modules() if m.startswith("zae_lightning") for n in own_imports(m) if "zae_engine" in n] == []


def test_importing_the_trainer_imports_neither_lightning_nor_a_tracker():
    code = "import sys, zae_engine.trainer; print({m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    for name in ("lightning", "pytorch_lightning", "wandb", "neptune", "matplotlib", "zae_lightning"):
        assert f"'{name}'" not in loaded


def test_at_most_fourteen_modules_lie_directly_in_the_trainers_package():
    assert len(list((ROOT / "zae_engine" / "trainer").glob("*.py"))) <= 14


def test_no_file_is_long():
    for module, file in modules().items():
        limit = 800 if module == f"{TRAINER}._trainer" else 400
        assert len(file.read_text().splitlines()) <= limit, module
    for file in (ROOT / "tests").rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 400, file


def identifiers(file: Path) -> str:
    """Return the names in a file, without its comments and strings."""
    with tokenize.open(file) as source:
        return " ".join(t.string for t in tokenize.generate_tokens(source.readline) if t.type == tokenize.NAME)


def test_replaced_names_do_not_come_back():
    pattern = re.compile(r"(?<!\w)(" + "|".join(OLD_NAMES) + r")(?!\w)")
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for folder in (*PACKAGES.values(), ROOT / "tests")
        for file in folder.rglob("*.py")
        if file != Path(__file__)
        and "/metrics/" not in file.as_posix()
        and file.name != "shipped.py"  # these use pandas.Series
        for name in set(pattern.findall(identifiers(file)))
    ]
    assert found == []


def test_the_first_line_of_every_module_names_its_job():
    for module, file in modules().items():
        if part_of(module) not in (None, "__init__") and file.name != "__init__.py":
            first = (ast.get_docstring(ast.parse(file.read_text())) or "").splitlines()[0]
            assert re.match(r"[A-Z`][\w`\-/ &]+( and [\w ]+)?: \S", first), f"{module}: {first}"


def has_logic(file: Path) -> bool:
    body = ast.parse(file.read_text()).body
    return any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in body)


@pytest.mark.parametrize(
    "module", [m for m, file in modules().items() if m.startswith(UNIT_TESTED) and has_logic(file)]
)
def test_every_module_with_logic_has_a_unit_test_file(module):
    parts = module.split(".")
    if parts[-1] in NO_UNIT_TEST or modules()[module].name == "__init__.py" or module.startswith(SCRIPTS):
        return
    folder = ROOT / "tests" / "unit" / Path(*(parts[1:-1] if parts[0] == "zae_engine" else parts[:-1]))
    assert (folder / f"test_{parts[-1].strip('_')}.py").exists()


def test_the_package_shows_its_public_names_only():
    import zae_engine.trainer

    assert dir(zae_engine.trainer) == sorted(zae_engine.trainer.__all__)
