"""Send jobs through decoding and scoring actors, a bounded number at once; results in the order of the jobs.

The frames of a video go from the actor that decoded it to the one that scores it through the cluster's object
store; the driver sees references, and in the end samples. A lost actor is paused until Ray has restarted it
on a machine with room; its video is decoded again by another actor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from strive_data.engines.engine import VideoJob, VideoResult
from strive_data.errors import SampleError, StriveError
from strive_data.schema import failed_row

CALLS_PER_ACTOR = 2  # one at work and one that waits, so that it is never idle


class Actors:
    """Chooses the actor for the next call: actors of one kind, the calls of each, and which are paused."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._actors = actors
        self._calls = dict.fromkeys(range(len(actors)), 0)
        self._paused: set[int] = set()

    def __len__(self) -> int:
        return len(self._actors)

    def has_room(self) -> bool:
        """Whether an active actor can take one more call."""
        return any(calls < CALLS_PER_ACTOR and self.is_active(place) for place, calls in self._calls.items())

    def take(self) -> tuple[int, Any]:
        """Give one more call to the active actor with the fewest; its place, and the actor."""
        place = min((place for place in self._calls if self.is_active(place)), key=self._calls.__getitem__)
        self._calls[place] += 1
        return place, self._actors[place]

    def give_back(self, place: int) -> None:
        """Count one call of this actor as done or lost."""
        self._calls[place] -= 1

    def is_active(self, place: int) -> bool:
        """Whether this actor may take calls."""
        return place not in self._paused

    def pause(self, place: int) -> Any:
        """Give no call to this actor until it is resumed; the actor."""
        self._paused.add(place)
        return self._actors[place]

    def resume(self, place: int) -> None:
        """Give calls to this actor again."""
        self._paused.discard(place)


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

    @property
    def most_in_flight(self) -> int:
        """Largest number of videos between the first without a result and the last one started."""
        return CALLS_PER_ACTOR * (len(self._decoders) + len(self._scorers))

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
            self._score(self._decoded.popleft())
        while self._decoders.has_room() and (video := self._next(source)):
            place, actor = self._decoders.take()
            status, frames = actor.decode.options(num_returns=2).remote(video.job.path)
            self._decoding[status] = InFlight(job=video.job, tries=video.tries, place=place, frames=frames)

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

    def _score(self, video: InFlight) -> None:
        place, actor = self._scorers.take()
        scored = actor.score.remote(video.job, video.frames, video.decode_seconds)
        self._scoring[scored] = InFlight(job=video.job, tries=video.tries, place=place)

    def _wait(self) -> None:
        """Wait until a call is done, and process its result."""
        calls = [*self._decoding, *self._scoring, *self._paused]
        ready, _ = self._ray.wait(calls, num_returns=1)
        for reference in ready:
            if reference in self._paused:
                self._resume(reference)
            elif reference in self._decoding:
                self._take_decoded(reference, self._decoding.pop(reference))
            else:
                self._take_scored(reference, self._scoring.pop(reference))

    def _take_decoded(self, reference: Any, video: InFlight) -> None:
        self._decoders.give_back(video.place)
        try:
            status: float | SampleError = self._get(reference)
        except self._ray.exceptions.RayError as error:
            self._lost(video, self._decoders, error)
            return
        job = video.job
        if isinstance(status, SampleError):
            results = tuple(failed_row(row, "decode", status) for row in job.rows)
            self._done[job.name] = VideoResult(job=job, results=results)
        else:
            decoded = InFlight(job=job, tries=video.tries, frames=video.frames, decode_seconds=status)
            self._decoded.append(decoded)

    def _take_scored(self, reference: Any, video: InFlight) -> None:
        self._scorers.give_back(video.place)
        try:
            self._done[video.job.name] = self._get(reference)
        except self._ray.exceptions.RayError as error:
            self._lost(video, self._scorers, error)

    def _get(self, reference: Any) -> Any:
        """The result of a call. Raises what the code of an actor raised, and RayError for what Ray lost."""
        return got(self._ray, reference)

    def _lost(self, video: InFlight, actors: Actors, error: Exception) -> None:
        """Start the video again; pause the actor, if the actor was lost."""
        if video.tries >= MAX_TRIES:
            reason = str(error).strip().splitlines()[0]
            raise StriveError(
                f"the Ray cluster lost {video.job.name} {video.tries} times ({reason}): check its machines, "
                "then start the same command again"
            ) from error
        self._retries.append(InFlight(job=video.job, tries=video.tries + 1))
        if isinstance(error, self._ray.exceptions.RayActorError) and actors.is_active(video.place):
            actor = actors.pause(video.place)
            # Ray keeps this call until the actor is there again.
            answer = actor.versions.options(max_task_retries=-1).remote()
            self._paused[answer] = (actors, video.place)

    def _resume(self, reference: Any) -> None:
        actors, place = self._paused.pop(reference)
        self._check(self._get(reference))
        actors.resume(place)


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
