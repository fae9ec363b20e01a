"""Rules about the source itself: who may import whom, and what a file may be."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "selfflow_robotics"

# What each part may import of ours. Lower parts never import higher ones.
MAY_IMPORT: dict[str, set[str]] = {
    "machine": set(),
    "streams": set(),
    "configs": set(),
    "images": set(),
    "model": set(),
    "image_model": {"model", "storage"},
    "storage": {"machine"},
    "registry": {"storage"},
    "tokenizers": {"images", "model", "storage", "machine"},
    "data": {"images", "model", "tokenizers", "storage", "machine", "registry"},
    "flow": {"model", "data"},
    "world_model": {
        *("images", "model", "flow", "data", "tokenizers", "storage", "machine", "streams"),
    },
    "planning": {
        *("world_model", "flow", "tokenizers", "data", "images", "model", "streams", "registry"),
        "storage",
    },
    "training": {
        *("world_model", "image_model", "flow", "tokenizers", "data", "images"),
        *("model", "storage", "machine", "streams", "registry"),
    },
    "envs": {"data", "images", "machine", "storage"},
    "policies": {
        *("streams", "planning", "world_model", "data", "images", "envs", "machine", "storage"),
        "registry",
    },
    "collecting": {
        *("policies", "envs", "planning", "world_model", "model", "data", "images", "machine"),
    },
    "improving": {
        *("collecting", "training", "envs", "planning", "world_model", "data", "model", "storage"),
        "streams",
    },
    "evaluation": {
        *("planning", "world_model", "data", "images", "envs", "policies", "storage", "machine"),
    },
}


def sources() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    found = {}
    for folder in (ROOT / PACKAGE, ROOT / "envs", ROOT / "policies", ROOT / "configs"):
        prefix = "" if folder.name == PACKAGE else f"{folder.name}."
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join(parts).removesuffix("__init__").rstrip(".")
            found[f"{PACKAGE}.{prefix}{name}".rstrip(".")] = path
    return found


def imports(name: str, path: Path, for_types: bool = False) -> Iterator[tuple[str, int]]:
    """Dotted names that a module imports, relative ones resolved, with their lines."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test) and not for_types
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                home = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*home, *([node.module] if node.module else [])])
            below = {f"{base}.{alias.name}" for alias in node.names}
            yield from ((found, node.lineno) for found in (below & set(MODULES)) or {base})


MODULES = sources()


def part_of(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_the_rules_cover_every_part() -> None:
    parts = {part_of(name) for name in MODULES} - {"", "cli"}
    assert parts - set(MAY_IMPORT) == set(), "say in MAY_IMPORT what the new part may import"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_dependencies_point_one_way(name: str) -> None:
    part = part_of(name)
    if part in ("", "cli"):
        return
    wrong = [
        f"{MODULES[name].relative_to(ROOT)}:{line} imports {found}"
        for found, line in imports(name, MODULES[name])
        if found.startswith(f"{PACKAGE}.") and part_of(found) not in {part, *MAY_IMPORT[part]}
    ]
    assert not wrong, f"{part} may import {sorted(MAY_IMPORT[part])} of ours: {wrong}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside of functions and those for types alone count as well."""
    sorter = TopologicalSorter(
        {
            name: {found for found, _ in imports(name, path, for_types=True)} & set(MODULES)
            for name, path in MODULES.items()
        }
    )
    sorter.prepare()  # names the circle


@pytest.mark.parametrize("name", sorted(n for n in MODULES if part_of(n) != "storage"))
def test_what_appears_whole_is_put_in_its_place_by_storage(name: str) -> None:
    text = MODULES[name].read_text(encoding="utf-8")
    assert "os.replace" not in text, "use storage.whole_file or storage.whole_folder"


@pytest.mark.parametrize("name", sorted(n for n in MODULES if part_of(n) == "model"))
def test_the_network_knows_torch_and_einops_only(name: str) -> None:
    allowed = {"torch", "einops", PACKAGE, *sys.stdlib_module_names}
    foreign = {found.split(".")[0] for found, _ in imports(name, MODULES[name])} - allowed
    assert not foreign


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_file_answers_one_question(name: str) -> None:
    path = MODULES[name]
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 450, f"{path.relative_to(ROOT)} has {lines} lines; it answers two questions"
    drawers = {"utils", "util", "common", "helpers", "misc"} & set(name.split("."))
    assert not drawers, f"{path.relative_to(ROOT)}: name what it is about"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_tensorflow_is_not_imported(name: str) -> None:
    found = [
        line
        for module, line in imports(name, MODULES[name])
        if module.split(".")[0] in ("tensorflow", "jax")
    ]
    assert not found, "the extra [rlds] alone brings TensorFlow: use extras.require"
