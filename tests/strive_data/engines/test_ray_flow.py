from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from strive_data.engines.engine import VideoJob, VideoResult
from strive_data.engines.ray_flow import CALLS_PER_ACTOR, MAX_TRIES, Actors, Flow
from strive_data.errors import FailureKind, SampleError, StriveError, UsageError
from strive_data.schema import FailedRow
from tests.strive_data.engines.fake_ray import FakeActor, FakeRay, ObjectLostError, RayActorError
from tests.strive_data.made.samples import a_question


def test_calls_go_to_the_actor_with_the_fewest() -> None:
    actors = Actors(["a", "b"])
    taken = [actors.take() for _ in range(3)]
    assert taken == [(0, "a"), (1, "b"), (0, "a")]
    actors.calls[0] -= 2
    assert actors.take() == (0, "a")


def test_there_is_room_until_every_actor_has_its_calls() -> None:
    actors = Actors(["a", "b"])
    for _ in range(2 * CALLS_PER_ACTOR):
        assert actors.has_room()
        actors.take()
    assert not actors.has_room()
    actors.calls[1] -= 1
    assert actors.has_room()


def test_an_actor_that_rests_gets_no_call() -> None:
    actors = Actors(["a", "b"])
    actors.paused.add(0)
    assert [actors.take()[1] for _ in range(2)] == ["b", "b"]
    assert not actors.has_room()
    actors.paused.discard(0)
    assert actors.has_room()
    assert actors.take() == (0, "a")


class Host:
    """Decodes a path to its name, scores that to its length as the number of frames."""

    def versions(self) -> dict[str, str]:
        return {"python": "3"}

    def decode(self, path: Path) -> tuple[float | SampleError, str | None]:
        if path.name == "broken":
            return SampleError(FailureKind.TIMEOUT, "too slow"), None
        if path.name == "bug":
            raise ZeroDivisionError("a defect of the code")
        if path.name == "refused":
            raise UsageError("no such reader")
        return 1.5, path.name

    def score(self, job: VideoJob, video: str, decode_seconds: float) -> VideoResult:
        return VideoResult(job=job, results=(), frames=len(video), seconds={"decode": decode_seconds})


def jobs_named(*names: str) -> list[VideoJob]:
    return [
        VideoJob(name=name, path=Path(name), rows=((place, a_question(name)),))
        for place, name in enumerate(names)
    ]


def flow_of(decoders: list[FakeActor], scorers: list[FakeActor], checked: list[object] | None = None) -> Flow:
    seen: list[object] = [] if checked is None else checked
    return Flow(FakeRay(), Actors(decoders), Actors(scorers), seen.append)


def test_results_come_in_the_order_of_the_jobs_whatever_is_done_first() -> None:
    jobs = jobs_named(*[f"v{place}" * (1 + place % 3) for place in range(25)])
    done = list(flow_of([FakeActor(Host()) for _ in range(3)], [FakeActor(Host())]).run(jobs))
    assert [each.job for each in done] == jobs
    assert [each.frames for each in done] == [len(job.name) for job in jobs]
    assert done[0].seconds == {"decode": 1.5}


def test_no_more_videos_are_drawn_than_may_be_in_flight() -> None:
    drawn: list[str] = []

    def source() -> Iterator[VideoJob]:
        for job in jobs_named(*[f"v{place}" for place in range(100)]):
            drawn.append(job.name)
            yield job

    flow = flow_of([FakeActor(Host())] * 2, [FakeActor(Host())])
    results = flow.run(source())
    for taken in range(1, 50):
        next(results)
        assert len(drawn) <= taken + flow.most_in_flight
    assert flow.most_in_flight == 6


def test_a_video_that_cannot_be_decoded_is_a_failure_and_goes_to_no_scorer() -> None:
    scorer = FakeActor(Host())
    done = list(flow_of([FakeActor(Host())], [scorer]).run(jobs_named("a", "broken", "b")))
    (lost,) = done[1].results
    assert isinstance(lost, FailedRow)
    assert (lost.sample_id, lost.row, lost.kind, lost.stage) == ("broken", 1, "timeout", "decode")
    assert scorer.calls == ["score", "score"]


@pytest.mark.parametrize("lost_is", ["decoder", "scorer"])
def test_a_lost_actor_is_paused_until_it_answers_and_its_videos_start_again(lost_is: str) -> None:
    decoders, scorers = [FakeActor(Host()) for _ in range(2)], [FakeActor(Host()) for _ in range(2)]
    lost = (decoders if lost_is == "decoder" else scorers)[0]
    lost.lost = 2
    checked: list[object] = []
    jobs = jobs_named(*"abcdefgh")
    done = list(flow_of(decoders, scorers, checked).run(jobs))
    assert [(each.job.name, each.frames) for each in done] == [(name, 1) for name in "abcdefgh"]
    assert lost.calls.count("versions") == len(checked) >= 1
    assert checked[0] == {"python": "3"}
    assert sum(actor.calls.count("decode") for actor in decoders) == 10


def test_lost_frames_are_decoded_again_and_no_actor_rests() -> None:
    scorer = FakeActor(Host(), lost=1, error=ObjectLostError)
    decoder = FakeActor(Host())
    assert len(list(flow_of([decoder], [scorer]).run(jobs_named("a")))) == 1
    assert decoder.calls == ["decode", "decode"]
    assert scorer.calls == ["score", "score"]


def test_a_video_that_is_lost_again_and_again_ends_the_build() -> None:
    decoder = FakeActor(Host(), lost=99, error=lambda: RayActorError("node died\nmore"))
    with pytest.raises(StriveError, match=r"lost a 4 times \(node died\): check its machines"):
        list(flow_of([decoder], [FakeActor(Host())]).run(jobs_named("a")))
    assert decoder.calls.count("decode") == MAX_TRIES == 4


def test_errors_for_the_user_are_raised_as_they_are_and_defects_with_their_traceback() -> None:
    with pytest.raises(UsageError, match=r"^no such reader$"):
        list(flow_of([FakeActor(Host())], [FakeActor(Host())]).run(jobs_named("refused")))
    with pytest.raises(RuntimeError, match=r"an actor failed:\ntask: a defect of the code"):
        list(flow_of([FakeActor(Host())], [FakeActor(Host())]).run(jobs_named("bug")))
