"""Evaluation: what is written, what it adds up to, and the paired gain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strive_data.errors import UsageError
from strive_data.shards.reader import ShardSet
from strive_rl.common import jsonl
from strive_rl.config import PolicySettings
from strive_rl.eval.config import EvalSettings
from strive_rl.eval.on_shards import evaluate, finished_results, gains, summarise
from strive_rl.eval.table import results_table
from tests.strive_rl.made.shards import SAMPLED, make_shards

SETTINGS = EvalSettings(
    policy=PolicySettings(device="cpu", prompts_per_pass=4), max_new_tokens=4, bootstrap_resamples=200
)


def row(sample: int, accuracy: float, seen: bool | None, sampler: str = "uniform") -> dict[str, Any]:
    return {
        "sample_id": f"q{sample}",
        "video_id": f"v{sample // 2}",
        "sampler": sampler,
        "frames_from": "x",
        "accuracy": accuracy,
        "format": 1.0,
        "reward": 0.9 * accuracy + 0.1,
        "finished": True,
        "evidence_seen": seen,
    }


def test_the_summary_by_hand() -> None:
    rows = [row(0, 1.0, True), row(1, 0.0, False), row(2, 1.0, False), row(3, 1.0, None)]
    summary = summarise(rows, EvalSettings(samplers=("uniform",), bootstrap_resamples=50))["uniform"]
    assert summary["accuracy"]["mean"] == 0.75
    assert (summary["accuracy"]["questions"], summary["accuracy"]["videos"]) == (4, 2)
    assert summary["evidence_seen"]["mean"] == 1.0
    assert (summary["evidence_missed"]["mean"], summary["evidence_missed"]["questions"]) == (0.5, 2)
    assert summary["reward"] == pytest.approx(0.775)
    assert summary["truncated_share"] == 0
    assert "grounding" not in summary


def test_grounding_has_miou_and_recalls() -> None:
    rows = [
        row(0, 0.6, True) | {"ious": [0.7, 0.5]},
        row(1, 0.0, None) | {"ious": [0.0, 0.4]},
        row(2, 1.0, None),
    ]
    summary = summarise(rows, EvalSettings(samplers=("uniform",), bootstrap_resamples=50))["uniform"]
    made = summary["grounding"]
    assert made.pop("mIoU") == pytest.approx(0.4)
    assert made == {"answers": 4, "R@0.3": 0.75, "R@0.5": 0.5, "R@0.7": 0.25}


def test_the_gain_is_paired_by_question() -> None:
    before = [row(i, float(i % 2), None) for i in range(8)]
    after = [row(i, 1.0, None) for i in reversed(range(8))]
    settings = EvalSettings(samplers=("uniform",), bootstrap_resamples=100)
    gain = gains(before, after, settings)["uniform"]
    # Four videos of one gain: a share of up to .49 of all may be unlike them.
    bounds = {"low": 0.5101 * 0.5 - 0.4899, "high": 0.5101 * 0.5 + 0.4899}
    assert gain == pytest.approx({"mean": 0.5, **bounds, "questions": 8, "videos": 4}, abs=1e-4)
    with pytest.raises(UsageError, match="other questions under 'uniform': 1 "):
        gains(before[1:], after, settings)


def test_an_evaluation_and_its_baseline(tmp_path: Path, shards: ShardSet, tiny_folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    results = evaluate(
        tmp_path / "one",
        shards=shards,
        model=str(tiny_folder),
        settings=SETTINGS,
        observe=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(4, 12), (6, 12), (10, 12), (12, 12)]
    rows = jsonl.read(tmp_path / "one" / "predictions.jsonl")
    assert [(r["sample_id"], r["sampler"]) for r in rows] == [
        (f"q{i}", sampler) for sampler in ("uniform", "importance") for i in range(6)
    ]
    assert rows[0]["times"] == [1.5, 4.5, 7.5, 10.5]
    assert rows[0]["evidence_seen"] is False
    assert rows[1]["evidence_seen"] is None
    assert rows[0]["answer"] == "A"
    assert results == jsonl.read_json(tmp_path / "one" / "results.json")
    assert results["samplers"]["importance"]["frames_from"] == ["comb, one variant, phase 1/2"]

    again = evaluate(
        tmp_path / "two",
        shards=shards,
        model=str(tiny_folder),
        settings=SETTINGS,
        baseline=tmp_path / "one",
    )
    assert jsonl.read(tmp_path / "two" / "predictions.jsonl") == rows
    gain = again["gain"]["uniform"]
    assert (gain["mean"], gain["questions"], gain["videos"]) == (0.0, 6, 3)
    assert gain["low"] < 0 < gain["high"]


def test_a_vote_and_its_controls_are_one_table(tmp_path: Path, shards: ShardSet, tiny_folder: Path) -> None:
    settings = replace(
        SETTINGS, samplers=("importance",), variants=2, vote=True, controls=("single", "samples", "frames")
    )
    out = tmp_path / "vote"
    results = evaluate(out, shards=shards, model=str(tiny_folder), settings=settings)
    rows = jsonl.read(out / "predictions.jsonl")
    columns = ["importance", "importance-single", "importance-samples", "importance-frames"]
    assert [row["sampler"] for row in rows] == [name for name in columns for _ in range(6)]
    counted = {
        name: (cost["prompts"], cost["frames"], cost["completions"])
        for name, cost in results["votes"].items()
    }
    assert counted == dict(zip(columns, [(12, 48, 12), (6, 24, 6), (6, 24, 12), (6, 48, 6)], strict=True))
    assert all(cost["seconds"] > 0 for cost in results["votes"].values())
    assert list(results["vote_gains"]) == columns[1:]
    assert results["vote_gains"]["importance-single"]["questions"] == 6
    shown = results_table(results)
    assert "at inference: not a gain of training" in shown
    assert "one view of 2·K frames" in shown
    assert finished_results(out, shards=shards, model=str(tiny_folder), settings=settings) == results
    with pytest.raises(UsageError, match=r"variants: 2, now 'nothing'"):
        finished_results(out, shards=shards, model=str(tiny_folder), settings=SETTINGS)
    # The single view is the evaluation without a vote, to the byte but for its name.
    plain = replace(SETTINGS, samplers=("importance",))
    evaluate(tmp_path / "plain", shards=shards, model=str(tiny_folder), settings=plain)
    alone = jsonl.read(tmp_path / "plain" / "predictions.jsonl")
    assert [row | {"sampler": "importance"} for row in rows[6:12]] == alone
    with pytest.raises(UsageError, match="topk chooses the same frames for each of 2 variants"):
        evaluate(out, shards=shards, model="", settings=replace(settings, samplers=("topk",)))


def test_sampled_shards_say_where_their_frames_come_from(tmp_path: Path, tiny_folder: Path) -> None:
    shards = make_shards(tmp_path / "shards", samples=2, settings=SAMPLED)
    results = evaluate(tmp_path / "out", shards=shards, model=str(tiny_folder), settings=SETTINGS)
    assert results["samplers"]["importance"]["frames_from"] == ["first stored variant of 2"]
    # More views than are stored are refused before a model is loaded: there is none of this name.
    four = replace(SETTINGS, samplers=("importance",), variants=4, vote=True)
    with pytest.raises(UsageError, match="hold 2 variants of each video, 4 are asked for"):
        evaluate(tmp_path / "four", shards=shards, model="no such model", settings=four)


def test_prompts_that_are_too_long_are_counted(tmp_path: Path, shards: ShardSet, tiny_folder: Path) -> None:
    settings = EvalSettings(
        policy=PolicySettings(device="cpu", max_prompt_tokens=50),
        samplers=("uniform",),
        bootstrap_resamples=10,
    )
    results = evaluate(tmp_path / "out", shards=shards, model=str(tiny_folder), settings=settings)
    assert len(results["dropped"]) == 6
    assert results["samplers"]["uniform"]["accuracy"] is None


@pytest.mark.parametrize("longest", [16_384, 50], ids=["answered", "dropped"])
def test_a_stopped_evaluation_goes_on(
    tmp_path: Path, shards: ShardSet, tiny_folder: Path, longest: int
) -> None:
    settings = replace(SETTINGS, policy=replace(SETTINGS.policy, max_prompt_tokens=longest))
    whole = evaluate(tmp_path / "whole", shards=shards, model=str(tiny_folder), settings=settings)

    def stop(done: int, total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    out, seen = tmp_path / "out", []
    with pytest.raises(KeyboardInterrupt):
        evaluate(out, shards=shards, model=str(tiny_folder), settings=settings, observe=stop)
    # Killed between the predictions of a batch and its line of progress.
    jsonl.append(out / "predictions.jsonl", [row(6, 1.0, None)])
    with (out / "progress.jsonl").open("a") as file:
        file.write('{"predictions": 4, "dro')
    with pytest.raises(UsageError, match=r"holds an evaluation, made otherwise .*max_new_tokens: 4, now 5"):
        evaluate(out, shards=shards, model=str(tiny_folder), settings=replace(settings, max_new_tokens=5))
    resumed = evaluate(
        out,
        shards=shards,
        model=str(tiny_folder),
        settings=settings,
        observe=lambda done, _: seen.append(done),
    )
    assert (resumed, seen) == (whole, [10, 12])
    assert len(resumed["dropped"]) == (12 if longest == 50 else 0)
    texts = [(folder / "predictions.jsonl").read_text() for folder in (out, tmp_path / "whole")]
    assert texts[0] == texts[1]
    assert sorted(path.name for path in out.iterdir()) == ["predictions.jsonl", "results.json"]


def test_what_cannot_be_evaluated(tmp_path: Path, shards: ShardSet, tiny_folder: Path) -> None:
    model = str(tiny_folder)
    with pytest.raises(UsageError, match="no finished evaluation"):
        evaluate(tmp_path / "o", shards=shards, model=model, settings=SETTINGS, baseline=tmp_path)
    with pytest.raises(UsageError, match="unknown samplers 'importanc', did you mean 'importance'"):
        evaluate(tmp_path / "o", shards=shards, model=model, settings=EvalSettings(samplers=("importanc",)))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json").write_text("{}")
    with pytest.raises(UsageError, match="run holds a run of training, or an evaluation on"):
        evaluate(tmp_path / "run", shards=shards, model=model, settings=SETTINGS)
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "results.json").write_text("{}")
    with pytest.raises(UsageError, match="already holds results"):
        evaluate(tmp_path / "o", shards=shards, model=model, settings=SETTINGS)
