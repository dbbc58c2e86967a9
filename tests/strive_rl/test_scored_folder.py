from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from strive_data.errors import SettingsError, UsageError
from strive_rl import journal
from strive_rl.benchmarks.own import OWN
from strive_rl.compare import CompareSettings, compare
from strive_rl.score import ScoreSettings, score
from strive_rl.scored_folder import read_scored

QUICK = CompareSettings(bootstrap_resamples=50)


def of_score(folder: Path, outputs: str) -> Path:
    """A folder of `score`: questions 0, 1, …, whose truth is B."""
    rows = [
        {"sample_id": str(i), "question": f"Q{i}?", "problem_type": "multiple choice", "output": output}
        | {"options": ["A. x", "B. y"], "answer": "B", "video": f"v{i // 2}.mp4"}
        for i, output in enumerate(outputs)
    ]
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.with_suffix(".jsonl")
    journal.append(file, rows)
    score([file], folder, benchmark=OWN, settings=ScoreSettings(bootstrap_resamples=20))
    return folder


def of_benchmark(folder: Path, **columns: str) -> Path:
    for sampler, outputs in columns.items():
        of_score(folder / sampler, outputs)
    journal.write_json(folder / "results.json", {"columns": dict.fromkeys(columns)})
    return folder


def of_shards(folder: Path, **columns: str) -> Path:
    """A folder of `eval --shards`."""
    folder.mkdir()
    lines: list[dict[str, Any]] = [
        {"sample_id": str(i), "video_id": f"v{i // 2}", "sampler": sampler, "question": f"Q{i}?"}
        | {"options": ["A. x", "B. y"], "answer": "B", "source": "s", "problem_type": "multiple choice"}
        | {"output": output, "extracted": output, "accuracy": float(output == "B"), "times": [0.5]}
        for sampler, outputs in columns.items()
        for i, output in enumerate(outputs)
    ]
    journal.append(folder / "predictions.jsonl", lines)
    journal.write_json(folder / "results.json", {"samplers": dict.fromkeys(columns)})
    return folder


def test_an_evaluation_gives_the_column_that_is_asked_for(tmp_path: Path) -> None:
    folder = of_benchmark(tmp_path / "out", uniform="AABB", peaks="ABBB")
    assert read_scored(folder).path == folder / "uniform"
    assert [row.output for row in read_scored(folder, "peaks").rows.values()] == list("ABBB")
    assert read_scored(of_benchmark(tmp_path / "one", peaks="AB")).path.name == "peaks"
    with pytest.raises(SettingsError, match=r"unknown sampler of .*out 'peeks', did you mean 'peaks'"):
        read_scored(folder, "peeks")


def test_two_columns_of_one_evaluation_and_of_two(tmp_path: Path) -> None:
    folder = of_benchmark(tmp_path / "out", uniform="AABB", peaks="ABBB")
    other = of_benchmark(tmp_path / "other", uniform="BBBB")
    gain = compare(folder, folder, settings=CompareSettings(sampler_b="peaks", bootstrap_resamples=50))
    assert gain["overall"]["difference"]["mean"] == pytest.approx(1 / 4)
    assert compare(folder, other, settings=QUICK)["overall"]["difference"]["mean"] == pytest.approx(2 / 4)


def test_evaluations_on_shards_are_compared_too(tmp_path: Path) -> None:
    a = of_shards(tmp_path / "a", uniform="AABB", importance="BBBA")
    b = of_shards(tmp_path / "b", uniform="BABB")
    made = compare(a, b, settings=QUICK)
    assert (made["overall"]["difference"]["mean"], made["sign_test"]["won"]) == (pytest.approx(1 / 4), 1)
    assert made["by"]["source"]["s"]["difference"]["mean"] == pytest.approx(1 / 4)
    assert read_scored(a, "importance").rows["0"].values == {"accuracy": 1.0}


def test_what_is_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no finished folder of `strive-rl score` or `eval`"):
        read_scored(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps({"samplers": {}}))
    with pytest.raises(UsageError, match="no finished folder"):
        read_scored(tmp_path)


def test_other_systems_have_no_sampler_and_ours_their_own(tmp_path: Path) -> None:
    folder = of_score(tmp_path / "scored", "AB")
    assert len(read_scored(folder, "peaks").rows) == 2
    results = journal.read_json(folder / "results.json")
    results["settings"]["sampler"] = "uniform"
    journal.write_json(folder / "results.json", results)
    assert len(read_scored(folder, "uniform").rows) == 2
    with pytest.raises(UsageError, match="it was scored for the sampler uniform, asked peaks"):
        read_scored(folder, "peaks")
