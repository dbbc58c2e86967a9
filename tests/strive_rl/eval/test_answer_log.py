"""Batches to lines: what is written of answers and failures, and that a video is looked at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from strive_data.engines.engine import VideoJob, VideoResult
from strive_data.errors import FailureKind, UsageError
from strive_data.schema import FailedRow, Sample
from strive_rl.benchmarks.items import Item
from strive_rl.benchmarks.rules.open_answers import CUSTOM
from strive_rl.common import distributed, jsonl
from strive_rl.eval import answer_log
from strive_rl.eval.answer_log import AnswerContext, answered, pending_of, video_batches_of
from strive_rl.policy import Policy
from tests.strive_data.made.samples import a_failure
from tests.strive_rl.eval.made_benchmark import QUICK
from tests.strive_rl.made.models import answering
from tests.strive_rl.made.shards import made_sample


def line(sample_id: str, sampler: str = "uniform", **more: object) -> dict[str, object]:
    return {"sample_id": sample_id, "sampler": sampler, **more}


@pytest.fixture
def as_rank(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes this process one of two, as torchrun would."""

    def be(rank: int) -> None:
        monkeypatch.setattr(distributed, "rank", lambda: rank)
        monkeypatch.setattr(distributed, "world_size", lambda: 2)

    return be


def test_lines_of_all_processes_are_settled_and_a_failure_is_so_for_every_sampler(
    tmp_path: Path, as_rank: Callable[[int], None]
) -> None:
    answer_log.write(tmp_path, answer_log.FAILURES, [line("c", ""), line("d", "peaks")])
    as_rank(0)
    answer_log.write(tmp_path, answer_log.PREDICTIONS, [line("a")])
    as_rank(1)
    answer_log.write(tmp_path, answer_log.PREDICTIONS, [line("b", "peaks")])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "failures.jsonl",
        "predictions.rank000.jsonl",
        "predictions.rank001.jsonl",
    ]
    assert answer_log.settled(tmp_path, ("uniform", "peaks")) == {
        ("a", "uniform"),
        ("b", "peaks"),
        ("c", "uniform"),
        ("c", "peaks"),
        ("d", "peaks"),
    }


def test_a_line_that_was_cut_short_is_cut_off_before_others_follow(tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    answer_log.write(tmp_path, answer_log.PREDICTIONS, [line("a"), line("b")])
    file.write_bytes(file.read_bytes()[:-9])
    assert list(answer_log.read(tmp_path, answer_log.PREDICTIONS)) == [("a", "uniform")]
    answer_log.mend(tmp_path)
    answer_log.write(tmp_path, answer_log.PREDICTIONS, [line("b")])
    assert list(answer_log.read(tmp_path, answer_log.PREDICTIONS)) == [("b", "uniform"), ("a", "uniform")]


def test_one_file_takes_the_place_of_all_in_the_order_given(
    tmp_path: Path, as_rank: Callable[[int], None]
) -> None:
    answer_log.write(tmp_path, answer_log.PREDICTIONS, [line("a", n=2)])
    for rank, some in enumerate((["c", "a"], ["b", "x"])):
        as_rank(rank)
        answer_log.write(tmp_path, answer_log.PREDICTIONS, [line(i, n=1) for i in some])
    order = {("a", "uniform"): 0, ("b", "uniform"): 1, ("c", "uniform"): 2}
    lines = answer_log.merge(tmp_path, answer_log.PREDICTIONS, order)
    assert [one["sample_id"] for one in lines] == ["a", "b", "c", "x"]
    assert lines[0]["n"] == 2  # what stands first is kept: the file before those of the processes
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.jsonl"]
    before = (tmp_path / "predictions.jsonl").read_bytes()
    assert answer_log.merge(tmp_path, answer_log.PREDICTIONS, order) == lines
    assert (tmp_path / "predictions.jsonl").read_bytes() == before


def test_a_folder_that_was_started_otherwise_is_refused_with_the_difference(tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer_log.open_folder(out, {"model": "a", "settings": {"seed": 0}})
    answer_log.write(out, answer_log.PREDICTIONS, [line("q0", "uniform")])
    answer_log.open_folder(out, {"model": "a", "settings": {"seed": 0}})
    with pytest.raises(UsageError, match=r"started otherwise \(settings.seed: 0, now 1\)"):
        answer_log.open_folder(out, {"model": "a", "settings": {"seed": 1}})
    other = tmp_path / "other"
    other.mkdir()
    (other / "predictions.jsonl").write_text("")
    with pytest.raises(UsageError, match="the files of something else"):
        answer_log.open_folder(other, {})


def test_a_folder_without_an_answer_starts_again(tmp_path: Path) -> None:
    answer_log.open_folder(tmp_path, {"model": "no such model"})
    answer_log.write(tmp_path, answer_log.FAILURES, [line("q0", answer_log.EVERY)])
    answer_log.open_folder(tmp_path, {"model": "b"})
    assert jsonl.read_json(tmp_path / answer_log.SETTINGS_FILE) == {"model": "b"}
    assert answer_log.settled(tmp_path, ["uniform"]) == set()


SETTINGS = replace(QUICK, max_new_tokens=2)


def results(*, broken: int = -1) -> list[VideoResult]:
    """Two questions on each of three videos; the samples of one of them are failures."""
    made = []
    for video in range(3):
        samples = [made_sample(2 * video), made_sample(2 * video + 1)]
        rows = tuple((2 * video + i, sample.meta.question) for i, sample in enumerate(samples))
        job = VideoJob(name=f"{video}.mp4", path=Path(f"{video}.mp4"), rows=rows)
        found = [failed(sample) for sample in samples] if video == broken else samples
        made.append(VideoResult(job=job, results=tuple(found)))
    return made


def failed(sample: Sample) -> FailedRow:
    asked = sample.meta.question
    return a_failure(asked.sample_id, FailureKind.NO_MOOV, video=asked.video)


@pytest.fixture
def context(tiny_policy: Policy) -> AnswerContext:
    questions = [question for result in results() for _, question in result.job.rows]
    items = {q.sample_id: Item(question=q, tags={"source": "made"}) for q in questions}
    return AnswerContext(policy=answering(tiny_policy), benchmark=CUSTOM, items=items, settings=SETTINGS)


def run(
    context: AnswerContext, videos: list[VideoResult], size: int, samplers: tuple[str, ...]
) -> Iterator[tuple]:
    video_batches = video_batches_of([video.job for video in videos], size)
    context = replace(context, settings=replace(context.settings, samplers=samplers))
    return answered(context, pending_of(video_batches, samplers, {})[1], iter(videos))


def test_lines_by_batch_and_sampler(context: AnswerContext) -> None:
    made = list(run(context, results(), 4, ("uniform", "topk")))
    ids = [[line["sample_id"] for line in lines] for lines, _ in made]
    assert ids == [[], ["q0", "q1", "q2", "q3"], ["q0", "q1", "q2", "q3"], [], ["q4", "q5"], ["q4", "q5"]]
    line = made[1][0][0]
    assert (line["sampler"], line["frames"], line["times"]) == (
        "uniform",
        [1, 4, 7, 10],
        [1.5, 4.5, 7.5, 10.5],
    )
    assert (line["video"], line["video_id"], line["tags"]) == ("0.mp4", "video0", {"source": "made"})
    assert line["score"] in (0.0, 1.0)
    assert line["score"] == float(line["extracted"] == "A")
    best = sorted(made_sample(0).scores.argsort()[-4:].tolist())
    assert made[2][0][0]["frames"] == best


def test_a_video_that_fails_costs_its_own_questions_alone(context: AnswerContext) -> None:
    made = list(run(context, results(broken=1), 4, ("uniform",)))
    assert [line["sample_id"] for lines, _ in made for line in lines] == ["q0", "q1", "q4", "q5"]
    lost = [line for _, lines in made for line in lines]
    assert [(line["sample_id"], line["sampler"], line["stage"], line["kind"]) for line in lost] == [
        ("q2", "", "decode", "no_moov"),
        ("q3", "", "decode", "no_moov"),
    ]


def test_a_prompt_that_is_too_long_fails_under_its_sampler(context: AnswerContext) -> None:
    short = replace(context.policy, settings=replace(context.policy.settings, max_prompt_tokens=50))
    ((_, _), (answers, lost)) = run(replace(context, policy=short), results()[:1], 4, ("uniform",))
    assert answers == []
    assert [(line["sample_id"], line["sampler"], line["stage"]) for line in lost] == [
        ("q0", "uniform", "prompt"),
        ("q1", "uniform", "prompt"),
    ]


def test_questions_on_one_video_share_its_pixels_and_features(
    context: AnswerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two questions a video, the same uniform frames: the tower sees three clips for six answers."""
    looked: list[int] = []
    look = Policy.encode_vision

    def counting(self: Policy, pixels, grids):  # type: ignore[no-untyped-def]
        looked.append(sum(grid[0] for grid in grids))
        return look(self, pixels, grids)

    monkeypatch.setattr(Policy, "encode_vision", counting)
    together = list(run(context, results(), 64, ("uniform",)))
    patches = sum(looked)
    alone = list(run(context, results(), 1, ("uniform",)))
    assert sum(looked) == 3 * patches
    texts = [[line["output"] for lines, _ in made for line in lines] for made in (together, alone)]
    assert texts[0] == texts[1]


def test_several_answers_count_with_their_mean(context: AnswerContext) -> None:
    many = replace(context, settings=replace(SETTINGS, temperature=3.0, completions=8))
    ((_, _), (lines, _)) = run(many, results()[:1], 4, ("uniform",))
    assert all(len(line["outputs"]) == 8 and line["outputs"][0] == line["output"] for line in lines)
    assert len({text for line in lines for text in line["outputs"]}) > 1
    right = [text.count("<answer>A</answer>") == 1 and "B" not in text for text in lines[0]["outputs"]]
    assert lines[0]["score"] == pytest.approx(sum(right) / 8, abs=0.4)
    again = list(run(many, results()[:1], 1, ("uniform",)))
    assert [line["outputs"] for found, _ in again for line in found] == [line["outputs"] for line in lines]
