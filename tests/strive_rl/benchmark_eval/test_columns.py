from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from strive_data.errors import UsageError
from strive_rl import journal
from strive_rl.benchmark_eval.columns import (
    gains_over_baseline,
    gains_over_uniform,
    require_baseline,
    score_columns,
)
from strive_rl.benchmarks.items import read_items
from strive_rl.benchmarks.videomme import VIDEOMME
from tests.strive_rl.benchmark_eval.made_benchmark import QUICK, row

BOTH = replace(QUICK, samplers=("uniform", "topk"))


def evaluation(folder: Path, **outputs: str) -> Path:
    """Predictions of four questions on two videos (truths A B B C), scored by sampler."""
    folder.mkdir()
    annotation = folder / "rows.json"
    annotation.write_text(json.dumps([row(video, number) for video in range(2) for number in range(2)]))
    lines = [
        {"sample_id": f"{i // 2:03d}-{i % 2}", "sampler": sampler, "output": output}
        for sampler, answers in outputs.items()
        for i, output in enumerate(answers)
    ]
    journal.append(folder / "predictions.jsonl", lines)
    settings = replace(QUICK, samplers=tuple(outputs))
    columns = score_columns(
        folder, benchmark=VIDEOMME, items=read_items([annotation], VIDEOMME), recipe=None, settings=settings
    )
    journal.write_json(folder / "results.json", {"columns": columns})
    return folder


def test_each_sampler_is_scored_by_itself_and_its_gain_is_over_uniform(tmp_path: Path) -> None:
    out = evaluation(tmp_path / "out", uniform="AAAA", topk="ABBA")
    held = journal.read_json(out / "results.json")["columns"]
    assert [held[name]["overall"]["official"]["mean"] for name in ("uniform", "topk")] == [1 / 4, 3 / 4]
    gains = gains_over_uniform(out, BOTH)
    assert gains["topk"]["overall"]["difference"]["mean"] == pytest.approx(2 / 4)
    assert (gains["topk"]["sign_test"]["won"], gains["topk"]["sign_test"]["lost"]) == (2, 0)
    assert gains_over_uniform(out, replace(QUICK, samplers=("topk",))) == {}


def test_scoring_again_takes_the_place_of_an_earlier_call(tmp_path: Path) -> None:
    out = evaluation(tmp_path / "out", uniform="AAAA")
    again = score_columns(
        out, benchmark=VIDEOMME, items=read_items([out / "rows.json"], VIDEOMME), recipe=None, settings=QUICK
    )
    assert again == journal.read_json(out / "results.json")["columns"]
    assert len(journal.read(out / "uniform" / "scored.jsonl")) == 4


def test_a_baseline_is_paired_by_sampler(tmp_path: Path) -> None:
    before = evaluation(tmp_path / "before", uniform="AAAA")
    after = evaluation(tmp_path / "after", uniform="ABBA", topk="ABBC")
    gains = gains_over_baseline(before, after, BOTH)
    assert list(gains) == ["uniform"]
    assert gains["uniform"]["overall"]["difference"]["mean"] == pytest.approx(2 / 4)
    require_baseline(before, BOTH)
    with pytest.raises(UsageError, match="it holds uniform, expected one of topk"):
        require_baseline(before, replace(QUICK, samplers=("topk",)))
    with pytest.raises(UsageError, match="no finished evaluation on a benchmark"):
        require_baseline(tmp_path, BOTH)
