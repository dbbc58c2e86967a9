"""Imports point one way: each folder, or file beside the folders, imports only from the layers below it.
Files and functions are short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# One line a layer, lowest first. A name is a folder of the package, or a file at its top.
LAYERS = {
    "strive_data": """
        errors
        common schema
        config
        annotations decode score
        sampling
        shards demo
        inspect engines
        build
        export
        cli
        __init__ __main__""",
    "strive_rl": """
        schema config
        common
        answers policy data
        algorithm
        rollout benchmarks
        eval inspect dry_run
        train
        study
        cli
        __init__ __main__""",
}
# What the trainer takes from the offline half: the contract, shard reading, and the drawing of variants.
# A benchmark's questions are read by the annotation reader, and its videos by an engine, so that a policy
# is evaluated on the frames that it would be trained on.
SHARED = {"errors", "common", "schema", "config", "shards", "sampling", "annotations", "engines"}


def imports(package: str) -> Iterator[tuple[str, Path, set[str]]]:
    """(folder below the package, file, dotted names that it imports) of each file."""
    for path in sorted((ROOT / package).rglob("*.py")):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
        yield path.relative_to(ROOT / package).parts[0].removesuffix(".py"), path, names


@pytest.mark.parametrize("package", LAYERS)
def test_imports_point_one_way(package: str) -> None:
    rank = {name: i for i, line in enumerate(LAYERS[package].strip().splitlines()) for name in line.split()}
    for folder, path, names in imports(package):
        targets = {name.split(".")[1] for name in names if name.startswith(f"{package}.")} & rank.keys()
        assert folder in rank, f"{path} has no place in LAYERS"
        assert not {t for t in targets - {folder} if rank[t] >= rank[folder]}, path


def test_the_trainer_takes_only_the_contract_from_the_offline_half() -> None:
    for _, path, names in imports("strive_rl"):
        assert {name.split(".")[1] for name in names if name.startswith("strive_data.")} <= SHARED, path


def test_the_offline_half_knows_no_trainer_and_torch_only_in_score() -> None:
    for folder, path, names in imports("strive_data"):
        roots = {name.split(".")[0] for name in names}
        assert "strive_rl" not in roots, path
        assert folder == "score" or not roots & {"torch", "torchvision", "transformers", "open_clip"}, path


@pytest.mark.parametrize("package", LAYERS)
def test_files_and_functions_can_be_read_at_a_sitting(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < 60, f"{path}:{node.name}"
