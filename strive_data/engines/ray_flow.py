"""Send jobs through decoding and scoring actors, a bounded number at once; results in the order of the jobs.

The frames of a video go from the actor that decoded it to the one that scores it through the cluster's object
store; the driver sees references, and in the end samples. A lost actor is paused until Ray has restarted it
on a machine with room; its video is decoded again by another actor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from strive_data.engines.engine import VideoJob, VideoResult
from strive_data.errors import SampleError, StriveError
from strive_data.schema import failed_row

CALLS_PER_ACTOR = 2  # one at work and one that waits, so that it is never idle


class Actors:
    """Chooses the actor for the next call: actors of one kind, the calls of each, and which are paused."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self.actors = actors
        self.calls = [0] * len(actors)
        self.paused: set[int] = set()

    def has_room(self) -> bool:
        """Whether an actor can take one more call."""
        return any(self.calls[place] < CALLS_PER_ACTOR for place in self._active())

    def take(self) -> tuple[int, Any]:
        """Give one more call to the actor with the fewest; its place, and the actor."""
        place = min(self._active(), key=self.calls.__getitem__)
        self.calls[place] += 1
        return place, self.actors[place]

    def _active(self) -> list[int]:
        return [place for place in range(len(self.actors)) if place not in self.paused]


MAX_TRIES = 4

Check = Callable[[Mapping[str, str | None]], None]
"""Raises an error if the versions of a machine are not those of this one."""


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """A video in flight: the number of this try, the place of its actor, its frames once decoded."""

    job: VideoJob
    tries: int
    place: int = 0
    frames: Any = None
    decode_seconds: float = 0.0


class Flow:
    """The state between two results; `ray` is the package, actors are those of ray_engine.py."""

    def __init__(self, ray: Any, decoders: Actors, scorers: Actors, check: Check) -> None:
        self._ray, self._check = ray, check
        self._decoders, self._scorers = decoders, scorers
        self._decoding: dict[Any, InFlight] = {}
        self._scoring: dict[Any, InFlight] = {}
        self._paused: dict[Any, tuple[Actors, int]] = {}
        self._retries: deque[InFlight] = deque()
        self._decoded: deque[InFlight] = deque()
        self._done: dict[str, VideoResult] = {}
        self._order: deque[str] = deque()
        self.most_in_flight = CALLS_PER_ACTOR * (len(decoders.actors) + len(scorers.actors))
        """Largest number of videos between the first without a result and the last one started."""

    def run(self, jobs: Iterable[VideoJob]) -> Iterator[VideoResult]:
        """One result for each job, in their order. Raises StriveError if the cluster loses a video MAX_TRIES
        times, and what the code of the actors raises."""
        source = iter(jobs)
        while True:
            self._hand_out(source)
            while self._order and self._order[0] in self._done:
                yield self._done.pop(self._order.popleft())
                self._hand_out(source)
            if not self._order:
                return
            self._wait()

    def _hand_out(self, source: Iterator[VideoJob]) -> None:
        while self._decoded and self._scorers.has_room():
            video, (place, actor) = self._decoded.popleft(), self._scorers.take()
            scored = actor.score.remote(video.job, video.frames, video.decode_seconds)
            self._scoring[scored] = InFlight(job=video.job, tries=video.tries, place=place)
        while self._decoders.has_room() and (next_video := self._next(source)):
            place, actor = self._decoders.take()
            status, frames = actor.decode.options(num_returns=2).remote(next_video.job.path)
            self._decoding[status] = replace(next_video, place=place, frames=frames)

    def _next(self, source: Iterator[VideoJob]) -> InFlight | None:
        """A lost video, or the next one if there is room for its result."""
        if self._retries:
            return self._retries.popleft()
        if len(self._order) >= self.most_in_flight:
            return None
        for job in islice(source, 1):
            self._order.append(job.name)
            return InFlight(job=job, tries=1)
        return None

    def _wait(self) -> None:
        """Wait until a call is done, and process its result."""
        calls = [*self._decoding, *self._scoring, *self._paused]
        ready, _ = self._ray.wait(calls, num_returns=1)
        for reference in ready:
            if reference in self._paused:
                actors, place = self._paused.pop(reference)
                self._check(got(self._ray, reference))
                actors.paused.discard(place)
            elif reference in self._decoding:
                self._take(reference, self._decoding.pop(reference), self._decoders)
            else:
                self._take(reference, self._scoring.pop(reference), self._scorers)

    def _take(self, reference: Any, video: InFlight, actors: Actors) -> None:
        actors.calls[video.place] -= 1
        try:
            answer: float | SampleError | VideoResult = got(self._ray, reference)
        except self._ray.exceptions.RayError as error:
            self._lost(video, actors, error)
            return
        job = video.job
        if isinstance(answer, VideoResult):
            self._done[job.name] = answer
        elif isinstance(answer, SampleError):
            results = tuple(failed_row(row, "decode", answer) for row in job.rows)
            self._done[job.name] = VideoResult(job=job, results=results)
        else:
            self._decoded.append(replace(video, decode_seconds=answer))

    def _lost(self, video: InFlight, actors: Actors, error: Exception) -> None:
        """Start the video again; pause the actor, if the actor was lost."""
        if video.tries >= MAX_TRIES:
            reason = str(error).strip().splitlines()[0]
            raise StriveError(
                f"the Ray cluster lost {video.job.name} {video.tries} times ({reason}): check its machines, "
                "then start the same command again"
            ) from error
        self._retries.append(InFlight(job=video.job, tries=video.tries + 1))
        if isinstance(error, self._ray.exceptions.RayActorError) and video.place not in actors.paused:
            actors.paused.add(video.place)
            # Ray keeps this call until the actor is there again.
            answer = actors.actors[video.place].versions.options(max_task_retries=-1).remote()
            self._paused[answer] = (actors, video.place)


def got(ray: Any, reference: Any) -> Any:
    """`ray.get`. Raises the StriveError that the code of an actor raised; RayError for what Ray lost, also if
    it was an argument of the call; RuntimeError for any other error of an actor."""
    errors = ray.exceptions
    try:
        return ray.get(reference)
    except errors.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, (errors.RayError, StriveError)):
            raise cause from None
        raise RuntimeError(f"an actor failed:\n{error}") from error
