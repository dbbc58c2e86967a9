"""Imports point one way (STYLE.md, rule 3). A new module must find its place in these layers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Lowest first; a module may import from the layers below its own only.
DATA_LAYERS = [
    {"errors"},
    {
        "schema",
        "settings",
        "counted",
        "import_path",
        "number",
        "npy",
        "page",
        "seal",
        "shown",
        "stopwatch",
        "storage",
        "worker_pool",
    },
    {
        "atomic",
        "config",
        "console",
        "interrupt",
        "jpeg",
        "manifest",
        "observer",
        "output_folder",
        "published",
        "sample_json",
        "shard_cache",
        "video_folder",
    },
    {"timeline", "density", "layout", "sample_tar", "stills", "tally", "question_row", "recipes", "csv_rows"},
    {"grouping", "views"},
    {"samplers", "annotation_rows", "choices"},
    {"recipe_row"},
    {"annotations", "decode", "score", "shards", "shard_writer", "tables", "picture", "synth", "provenance"},
    {
        "failure_limit",
        "ledger",
        "sampling",
        "shard_stream",
        "progress",
        "plot",
        "query",
        "export",
        "cache",
        "screen",
        "shard_progress",
    },
    {"scoring"},
    {"batching", "video_results"},
    {"engines"},
    {"finish", "inputs", "output", "summary", "work"},
    {"sample_stream", "session", "unchanged", "verify"},
    {"build", "report", "overview", "judge", "overlap", "merge", "local_copy"},
    {"cli"},
    {"__main__"},
]
RL_LAYERS = [
    {"config", "schema", "distributed"},
    {
        "eval_config",
        "answers",
        "text_scores",
        "interval",
        "table",
        "stopwatch",
        "progress",
        "journal",
        "neighbours",
        "run_record",
        "evidence",
        "memory",
        "numbers",
        "sign_test",
        "signals",
        "slices",
        "writer",
    },
    {"plot", "prompt", "reward", "show", "trackers", "advantage", "loss", "optimizer", "views"},
    {"policy", "data", "benchmarks", "schedule"},
    {"rollout", "checkpoint", "reference", "benchmark_page", "score_table"},
    {"asking"},
    {"answering", "lesson", "refill", "waves"},
    {"anchor", "export", "filler"},
    {"update"},
    {"collect", "excerpt", "facts", "footprint"},
    {"begin", "metrics"},
    {"trainer", "evaluate", "score", "dry_run"},
    {"launch", "scored_folder"},
    {"compare", "study"},
    {"benchmark_eval"},
    {"cli"},
    {"__main__"},
]
# What the trainer may take from the offline half: the contract, shard reading, the pure drawing of variants.
SHARED = {
    "errors",
    "counted",
    "import_path",
    "page",
    "schema",
    "settings",
    "console",
    "config",
    "shards",
    "density",
    "samplers",
    "views",
    "number",
    "annotations",
    "annotation_rows",
    "question_row",
    "video_folder",
    "recipes",
    "jpeg",
    "sample_stream",
    "layout",
    "published",
}


def modules(package: str) -> Iterator[tuple[str, Path]]:
    """(first name below the package, file) of each module."""
    for path in sorted((ROOT / package).rglob("*.py")):
        first = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        if first != "__init__":
            yield first, path


def imported(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(("package", "layers"), [("strive_data", DATA_LAYERS), ("strive_rl", RL_LAYERS)])
def test_imports_point_down(package: str, layers: list[set[str]]) -> None:
    rank = {name: i for i, layer in enumerate(layers) for name in layer}
    wrong = []
    for name, path in modules(package):
        assert name in rank, f"{path} has no place in the layers of this test: give it one"
        inside = {target.split(".")[1] for target in imported(path) if target.startswith(f"{package}.")}
        wrong += [
            f"{path} imports {other}" for other in inside & rank.keys() - {name} if rank[other] >= rank[name]
        ]
    assert not wrong


def test_the_trainer_takes_only_the_contract_from_the_offline_half() -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {target}"
        for _, path in modules("strive_rl")
        for target in imported(path)
        if target.startswith("strive_data.") and target.split(".")[1] not in SHARED
    }
    assert not wrong


def test_the_offline_half_knows_no_trainer_and_torch_only_in_score() -> None:
    for name, path in modules("strive_data"):
        roots = {target.split(".")[0] for target in imported(path)}
        assert "strive_rl" not in roots, path
        assert name == "score" or not roots & {"torch", "torchvision", "transformers", "open_clip"}, path
