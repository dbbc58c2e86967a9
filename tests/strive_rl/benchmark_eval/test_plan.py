from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from strive_data.sample_stream import VideoJob
from strive_data.schema import Question
from strive_rl.benchmark_eval.plan import Parcel, order_of, parcels_of, pending_of, share


def jobs(*counts: int) -> list[VideoJob]:
    """Videos with that many questions; a question is named video.number."""
    made, row = [], 0
    for video, count in enumerate(counts):
        rows = []
        for number in range(count):
            question = Question(
                sample_id=f"{video}.{number}",
                video=f"{video}.mp4",
                question="?",
                answer="x",
                problem_type="free-form",
            )
            rows.append((row, question))
            row += 1
        made.append(VideoJob(name=f"{video}.mp4", path=Path(f"{video}.mp4"), rows=tuple(rows)))
    return made


def ids(parcels: list[Parcel]) -> list[list[list[str]]]:
    return [[[q.sample_id for _, q in batch] for batch in parcel.batches] for parcel in parcels]


def test_videos_are_whole_and_batches_full_by_hand() -> None:
    assert ids(parcels_of(jobs(1, 2, 1, 5, 1), 3)) == [
        [["0.0", "1.0", "1.1"]],
        [["2.0", "3.0", "3.1"], ["3.2", "3.3", "3.4"]],
        [["4.0"]],
    ]
    assert parcels_of([], 3) == []


@given(counts=st.lists(st.integers(1, 7), max_size=12), size=st.integers(1, 5), ranks=st.integers(1, 4))
def test_each_question_is_one_processes_and_its_batch_does_not_depend_on_how_many_there_are(
    counts: list[int], size: int, ranks: int
) -> None:
    parcels = parcels_of(jobs(*counts), size)
    shares = [share(parcels, rank, ranks) for rank in range(ranks)]
    every = sorted(i for mine in shares for parcel in ids(mine) for batch in parcel for i in batch)
    assert every == sorted(
        f"{video}.{number}" for video, count in enumerate(counts) for number in range(count)
    )
    videos = [{job.name for parcel in mine for job in parcel.jobs} for mine in shares]
    assert sum(map(len, videos)) == len(counts)
    assert all(len(batch) <= size for parcel in ids(parcels) for batch in parcel)
    whole = [batch for parcel in ids(parcels) for batch in parcel]
    assert all(batch in whole for mine in shares for parcel in ids(mine) for batch in parcel)


def test_lines_stand_batch_by_batch_and_in_it_sampler_by_sampler() -> None:
    order = order_of(parcels_of(jobs(2, 1), 2), ("uniform", "peaks"))
    assert list(order) == [
        ("0.0", "uniform"),
        ("0.1", "uniform"),
        ("0.0", "peaks"),
        ("0.1", "peaks"),
        ("1.0", "uniform"),
        ("1.0", "peaks"),
    ]


def test_what_is_left_are_whole_batches_and_whole_videos() -> None:
    parcels = parcels_of(jobs(2, 5), 3)
    done = dict.fromkeys([("0.0", "u"), ("0.1", "u"), ("1.0", "u"), ("1.0", "p")], True)
    pending = pending_of(parcels, ("u", "p"), done)
    assert [[q.sample_id for _, q in batch] for batch, _ in pending.batches] == [
        ["0.0", "0.1", "1.0"],
        ["1.1", "1.2", "1.3"],
        ["1.4"],
    ]
    assert [samplers for _, samplers in pending.batches] == [("p",), ("u", "p"), ("u", "p")]
    first = dict.fromkeys([(i, s) for i in ("0.0", "0.1", "1.0", "1.1", "1.2", "1.3") for s in "up"], True)
    pending = pending_of(parcels, ("u", "p"), first)
    assert [job.name for job in pending.jobs] == ["1.mp4"]
    assert len(pending.jobs[0].rows) == 5
    assert pending_of(parcels, ("u",), dict.fromkeys(order_of(parcels, ("u",)), True)).batches == ()
