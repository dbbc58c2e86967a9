from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strive_data.errors import SettingsError, UsageError
from strive_rl.benchmarks.rules.open_answers import CUSTOM, VIDEOMMMU
from strive_rl.common import jsonl
from strive_rl.common.statistics import wilson
from strive_rl.eval.compare import compare, read_scored
from strive_rl.eval.config import CompareSettings, EvalSettings, ScoreSettings
from strive_rl.eval.on_shards import write_pages
from strive_rl.eval.score import score
from strive_rl.eval.table import compare_heading, compare_table, even_note

QUICK = CompareSettings(bootstrap_resamples=50)
CHOICE = {"problem_type": "multiple choice", "options": ["A. x", "B. y"]}


def of_score(
    folder: Path, outputs: Iterable[str], *, first: int = 0, sampler: str = "", **settings: Any
) -> Path:
    """A folder of `score`: questions `first`, …, whose truth is B; "-" is no output; `textN` rewords one."""
    numbered = dict(enumerate(outputs, first))
    rows = [
        CHOICE
        | {"problem_id": i, "problem": settings.pop(f"text{i}", f"Question {i}?"), "solution": "B"}
        | {"path": f"v{i // 2}.mp4", "data_source": f"s{i % 2}"}
        for i in numbered
    ]
    folder.parent.mkdir(parents=True, exist_ok=True)
    annotation, predictions = folder.with_suffix(".json"), folder.with_suffix(".jsonl")
    annotation.write_text(json.dumps(rows))
    more = {"sampler": sampler} if sampler else {}
    jsonl.append(
        predictions, [{"sample_id": str(i), "output": o} | more for i, o in numbered.items() if o != "-"]
    )
    quick = ScoreSettings(bootstrap_resamples=20, **settings)
    score([predictions], folder, benchmark=CUSTOM, annotations=[annotation], settings=quick)
    return folder


def of_benchmark(folder: Path, **columns: str) -> Path:
    for sampler, outputs in columns.items():
        of_score(folder / sampler, outputs, sampler=sampler)
    jsonl.write_json(folder / "results.json", {"columns": dict.fromkeys(columns)})
    return folder


def of_shards(folder: Path, **columns: str) -> Path:
    """A folder of `eval --shards`."""
    folder.mkdir()
    lines: list[dict[str, Any]] = [
        CHOICE
        | {"sample_id": str(i), "video_id": f"v{i // 2}", "video": f"{i // 2}.mp4", "sampler": sampler}
        | {"question": f"Q{i}?", "answer": "B", "source": "s"}
        | {"output": output, "extracted": output, "accuracy": float(output == "B"), "times": [0.5]}
        for sampler, outputs in columns.items()
        for i, output in enumerate(outputs)
    ]
    jsonl.append(folder / "predictions.jsonl", lines)
    results = {"samplers": dict.fromkeys(columns), "model": "m", "shards": "held", "shards_fingerprint": "1f"}
    jsonl.write_json(folder / "results.json", results)
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
    assert (made["frames_a"], made["frames_b"], made["unlike"]) == ("uniform", "uniform", [])
    assert compare_heading(made).splitlines() == [f"A: {a}, uniform frames", f"B: {b}, uniform frames"]


def test_an_evaluation_on_shards_has_a_page_for_each_column(tmp_path: Path) -> None:
    folder = of_shards(tmp_path / "a", uniform="AABB", importance="BBBA")
    pages = write_pages(folder, EvalSettings(bootstrap_resamples=20))
    assert [page.name for page in pages] == ["page-uniform.html", "page-importance.html"]
    page = pages[1].read_text()
    for text in ("importance frames</h1>", "75.00 %", "Wrong: 1, 1 shown", "model m · build held"):
        assert text in page
    # One reading has no name of its own, and a video is named by its file.
    assert [text in page for text in ("</span> · read as: A</p>", "3 · 1.mp4 · s", "v1")] == [
        True,
        True,
        False,
    ]


def test_what_differs_beside_the_model_is_named(tmp_path: Path) -> None:
    """Unequal builds, votes, prompts and frames are warned of; what only costs time or memory is not."""
    settings = {"engine": "builtin", "sleep": True, "seed": 0, "policy": {"dtype": "auto", "device": "cpu"}}
    a = of_shards(tmp_path / "a", uniform="AABB", importance="BBBA")
    b = of_shards(tmp_path / "b", importance="BABB")
    for folder_of, build, changes in (
        (a, "1f", {}),
        (b, "2e", {"vote": True, "variants": 4, "sleep": False, "seed": 1, "policy": {"dtype": "float32"}}),
    ):
        results = jsonl.read_json(folder_of / "results.json")
        results |= {"settings": settings | changes, "shards": "held", "shards_fingerprint": build}
        jsonl.write_json(folder_of / "results.json", results)
    made = compare(a, b, settings=QUICK, out=tmp_path / "out")
    assert sorted(made["unlike"]) == [
        "build: held (1f) in A, held (2e) in B",
        "frames: uniform in A, importance in B",
        "policy.dtype: auto in A, float32 in B",
        "variants: the default in A, 4 in B",
        "vote: False in A, True in B",
    ]
    assert compare_heading(made).count("warning: ") == 5
    assert "frames: uniform in A, importance in B" in (tmp_path / "out" / "page.html").read_text()


def test_what_is_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no finished folder of `strive-rl score` or `eval`"):
        read_scored(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps({"samplers": {}}))
    with pytest.raises(UsageError, match=r"/a: no finished folder(.|\n)*/b: no finished folder"):
        compare(tmp_path / "a", tmp_path / "b", settings=CompareSettings())
    with pytest.raises(UsageError, match="no finished folder"):
        read_scored(tmp_path)


def test_other_systems_have_no_sampler_and_ours_their_own(tmp_path: Path) -> None:
    folder = of_score(tmp_path / "scored", "AB")
    ours = of_benchmark(tmp_path / "ours", uniform="AB", peaks="BB")
    assert compare(folder, ours, settings=replace(QUICK, sampler="peaks"))["frames_b"] == "peaks"
    assert compare(ours, folder, settings=replace(QUICK, sampler="peaks"))["frames_a"] == "peaks"
    for asked in ({"sampler": "nope"}, {"sampler_b": "nope"}):
        with pytest.raises(UsageError, match=r"scored: got sampler nope, .* no frame sampler"):
            compare(folder, folder, settings=replace(QUICK, **asked))
    single = of_score(tmp_path / "single", "AB", sampler="uniform")
    assert read_scored(single, "uniform").frames == read_scored(single).frames == "uniform"
    with pytest.raises(SettingsError, match=r"unknown sampler of .*single 'nope'; known: uniform"):
        read_scored(single, "nope")


def test_frames_that_no_score_chose_are_named(tmp_path: Path) -> None:
    """A build with --scorer flat has importance frames by name only."""
    folder = of_shards(tmp_path / "a", importance="AB", uniform="BB")
    sources = {"importance": "comb, one variant, phase 1/2, all scores equal", "uniform": "midpoint-uniform"}
    lines = [
        line | {"frames_from": sources[line["sampler"]]} for line in jsonl.read(folder / "predictions.jsonl")
    ]
    (folder / "predictions.jsonl").unlink()
    jsonl.append(folder / "predictions.jsonl", lines)
    pages = write_pages(folder, EvalSettings(samplers=("importance", "uniform"), bootstrap_resamples=20))
    named = ["frames are spread by time alone" in page.read_text() for page in pages]
    assert named == [True, False]
    assert even_note("uniform", ["uniform, 4 variants, phases (v + 1/2)/4, all scores equal"]) == []


def test_the_difference_is_paired_and_its_wins_are_tested(tmp_path: Path) -> None:
    a = of_score(tmp_path / "a", "BBAAAAAA")
    b = of_score(tmp_path / "b", "ABBBBBBA")
    made = compare(a, b, settings=QUICK, out=tmp_path / "out")
    assert made["overall"]["difference"]["mean"] == pytest.approx(4 / 8)
    assert (made["overall"]["a"]["mean"], made["overall"]["b"]["mean"]) == (2 / 8, 6 / 8)
    assert made["sign_test"] == {"won": 5, "lost": 1, "tied": 2, "p": pytest.approx(14 / 64)}
    # Videos 0 to 3: −½, +1, +1, +½.
    assert made["sign_test_videos"] == {"won": 3, "lost": 1, "tied": 0, "p": pytest.approx(10 / 16)}
    assert made["by"]["source"]["s0"]["difference"]["mean"] == pytest.approx((-1 + 1 + 1 + 1) / 4)
    assert (made["by"]["source"]["s1"]["won"], made["by"]["source"]["s1"]["lost"]) == (2, 0)
    low, high = made["overall"]["difference"]["low"], made["overall"]["difference"]["high"]
    assert low < 0.5 < high
    assert jsonl.read_json(tmp_path / "out" / "comparison.json") == made
    assert "Won by B: 5, 5 shown" in (tmp_path / "out" / "page.html").read_text()
    with pytest.raises(UsageError, match="already holds results"):
        compare(a, b, settings=QUICK, out=tmp_path / "out")


def test_a_system_against_itself_and_swapped(tmp_path: Path) -> None:
    a = of_score(tmp_path / "a", "BBAABA")
    b = of_score(tmp_path / "b", "ABBABB")
    same = compare(a, a, settings=QUICK)
    # Three videos without a difference say little of others.
    other = wilson(0, 3)[1]
    none = {"mean": 0, "low": -other, "high": other, "questions": 6, "videos": 3}
    assert same["overall"]["difference"] == pytest.approx(none)
    assert same["sign_test"]["p"] == 1
    there, back = compare(a, b, settings=QUICK), compare(b, a, settings=QUICK)
    assert there["overall"]["difference"]["mean"] == -back["overall"]["difference"]["mean"]
    assert there["sign_test"]["p"] == back["sign_test"]["p"]


def test_other_questions_are_refused_by_name_or_left_out(tmp_path: Path) -> None:
    a = of_score(tmp_path / "a", "BBAB")
    b = of_score(tmp_path / "b", "ABBB", first=1, text3="Another?")
    with pytest.raises(UsageError, match=r"A only \(0\); .* B only \(4\); .* something else \(3\)"):
        compare(a, b, settings=QUICK)
    common = compare(a, b, settings=QUICK, common=True)
    assert common["overall"]["difference"]["questions"] == 2
    assert any(note.startswith("left out: 3 questions that the two do not") for note in common["notes"])


def test_with_missing_excluded_only_what_both_answered_is_compared(tmp_path: Path) -> None:
    a = of_score(tmp_path / "a", "B-A", missing="exclude")
    b = of_score(tmp_path / "b", "BBB", missing="exclude")
    assert compare(a, b, settings=QUICK)["overall"]["difference"]["questions"] == 2
    wrong = of_score(tmp_path / "w", "BBB")
    with pytest.raises(UsageError, match=r"has missing exclude, .* has wrong: score both alike"):
        compare(a, wrong, settings=QUICK)


def test_a_convention_can_be_chosen(tmp_path: Path) -> None:
    a, b = of_score(tmp_path / "a", ["B.", "B", "A"]), of_score(tmp_path / "b", "BBA")
    assert compare(a, b, settings=QUICK)["overall"]["difference"]["mean"] == 0
    theirs = compare(a, b, settings=CompareSettings(convention="video_r1", bootstrap_resamples=20))
    assert theirs["overall"]["difference"]["mean"] == pytest.approx(1 / 3)


def of_videommmu(folder: Path, outputs: str) -> Path:
    """A folder of `score` on VideoMMMU's Adaptation track, whose truths are all B; "-" is an empty output."""
    tags = {"track": "Adaptation", "subject": "Art"}
    rows = [
        CHOICE
        | {"sample_id": f"Adaptation-{i}", "question": f"Q{i}?", "tags": tags}
        | {"answer": "B", "video": f"v{i}.mp4", "output": output.strip("-")}
        for i, output in enumerate(outputs)
    ]
    jsonl.append(folder.with_suffix(".jsonl"), rows)
    quick = ScoreSettings(bootstrap_resamples=20)
    score([folder.with_suffix(".jsonl")], folder, benchmark=VIDEOMMMU, settings=quick)
    return folder


def test_the_knowledge_gain_of_videommmu(tmp_path: Path) -> None:
    before, after = of_videommmu(tmp_path / "a", "BBAA-"), of_videommmu(tmp_path / "b", "BABBB")
    made = compare(before, after, settings=QUICK)
    robust, official = made["knowledge"]["robust"], made["knowledge"]["official"]
    assert (robust["before"], robust["after"], robust["delta"]) == pytest.approx((0.4, 0.8, 0.4 / 0.6))
    assert (robust["wrong_to_right"], robust["right_to_wrong"]) == (1, 0.5)
    # The empty answer is in neither mean, but the rates count it as wrong before.
    assert (official["before"], official["after"], official["delta"]) == pytest.approx((0.5, 0.75, 0.5))
    assert (official["wrong_to_right"], official["right_to_wrong"]) == (1, 0.5)
    assert "official: Δknowledge +50.0 %, wrong → right 100.0 %, right → wrong 50.0 %" in compare_table(made)
    assert made["overall"]["difference"]["questions"] == 4
    assert made["readings"]["robust"]["difference"]["questions"] == 5
    assert any("not in the mean of official" in note for note in made["notes"])


def test_the_first_convention_with_a_common_question_leads(tmp_path: Path) -> None:
    empty = of_videommmu(tmp_path / "a", "--")
    made = compare(empty, empty, settings=QUICK)
    assert (made["convention"], made["overall"]["difference"]["questions"]) == ("robust", 2)
    with pytest.raises(UsageError, match="official"):
        compare(empty, empty, settings=CompareSettings(convention="official"))
