"""Jobs through decoding and scoring actors: a bounded number in flight, results in the order of the jobs.

The frames of a video go from the actor that decoded it to the one that scores it by the cluster's object
store; the driver sees references, and in the end samples. An actor that is lost rests until Ray has made it
anew, on whatever machine has room; the video that it was at is begun again, from decoding, by another.
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

# Which actor gets the next call. Pure: an actor may be anything.

CALLS_AN_ACTOR = 2  # one at work and one that waits, so that it is never idle


class Actors:
    """Actors of one kind, how many calls each of them has, and which rest."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._actors = actors
        self._calls = dict.fromkeys(range(len(actors)), 0)
        self._resting: set[int] = set()

    def __len__(self) -> int:
        return len(self._actors)

    def has_room(self) -> bool:
        """Whether some actor that does not rest has less than its calls."""
        return any(calls < CALLS_AN_ACTOR and self.is_awake(place) for place, calls in self._calls.items())

    def take(self) -> tuple[int, Any]:
        """The actor with the fewest calls, which now has one more, and its place."""
        place = min((place for place in self._calls if self.is_awake(place)), key=self._calls.__getitem__)
        self._calls[place] += 1
        return place, self._actors[place]

    def give_back(self, place: int) -> None:
        """One of its calls is done, or lost."""
        self._calls[place] -= 1

    def is_awake(self, place: int) -> bool:
        """Whether it may be given calls."""
        return place not in self._resting

    def rest(self, place: int) -> Any:
        """Give it no call until it wakes; the actor."""
        self._resting.add(place)
        return self._actors[place]

    def wake(self, place: int) -> None:
        """It may be given calls again."""
        self._resting.discard(place)


STARTS_OF_A_VIDEO = 4

Check = Callable[[Mapping[str, str | None]], None]
"""Raises where the versions of a machine are not those of this one."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A video on its way: which start of it this is, the actor that has it, its frames once decoded."""

    job: VideoJob
    start: int
    place: int = 0
    video: Any = None
    decode_seconds: float = 0.0


class Flow:
    """The state between two results; `ray` is the package, actors are those of hosts.py."""

    def __init__(self, ray: Any, decoders: Actors, scorers: Actors, check: Check) -> None:
        self._ray, self._check = ray, check
        self._decoders, self._scorers = decoders, scorers
        self._decoding: dict[Any, Begun] = {}
        self._scoring: dict[Any, Begun] = {}
        self._resting: dict[Any, tuple[Actors, int]] = {}
        self._again: deque[Begun] = deque()
        self._decoded: deque[Begun] = deque()
        self._done: dict[str, VideoResult] = {}
        self._order: deque[str] = deque()

    @property
    def most_in_flight(self) -> int:
        """Videos between the first whose result is missing and the last that was begun."""
        return CALLS_AN_ACTOR * (len(self._decoders) + len(self._scorers))

    def run(self, jobs: Iterable[VideoJob]) -> Iterator[VideoResult]:
        """One result for each job, in their order. Raises StriveError where the cluster loses a video again
        and again, and what the code of the actors raises."""
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
        while self._decoders.has_room() and (begun := self._next(source)):
            place, actor = self._decoders.take()
            status, video = actor.decode.options(num_returns=2).remote(begun.job.path)
            self._decoding[status] = Begun(job=begun.job, start=begun.start, place=place, video=video)

    def _next(self, source: Iterator[VideoJob]) -> Begun | None:
        """A video that was lost, or the next one, if there is room for its result."""
        if self._again:
            return self._again.popleft()
        if len(self._order) >= self.most_in_flight:
            return None
        for job in islice(source, 1):
            self._order.append(job.name)
            return Begun(job=job, start=1)
        return None

    def _score(self, begun: Begun) -> None:
        place, actor = self._scorers.take()
        scored = actor.score.remote(begun.job, begun.video, begun.decode_seconds)
        self._scoring[scored] = Begun(job=begun.job, start=begun.start, place=place)

    def _wait(self) -> None:
        """Wait until one call is done or more, and see to what they gave."""
        calls = [*self._decoding, *self._scoring, *self._resting]
        ready, _ = self._ray.wait(calls, num_returns=1)
        for reference in ready:
            if reference in self._resting:
                self._wake(reference)
            elif reference in self._decoding:
                self._take_decoded(reference, self._decoding.pop(reference))
            else:
                self._take_scored(reference, self._scoring.pop(reference))

    def _take_decoded(self, reference: Any, begun: Begun) -> None:
        self._decoders.give_back(begun.place)
        try:
            status: float | SampleError = self._get(reference)
        except self._ray.exceptions.RayError as error:
            self._lost(begun, self._decoders, error)
            return
        job = begun.job
        if isinstance(status, SampleError):
            results = tuple(failed_row(row, "decode", status) for row in job.rows)
            self._done[job.name] = VideoResult(job=job, results=results)
        else:
            decoded = Begun(job=job, start=begun.start, video=begun.video, decode_seconds=status)
            self._decoded.append(decoded)

    def _take_scored(self, reference: Any, begun: Begun) -> None:
        self._scorers.give_back(begun.place)
        try:
            self._done[begun.job.name] = self._get(reference)
        except self._ray.exceptions.RayError as error:
            self._lost(begun, self._scorers, error)

    def _get(self, reference: Any) -> Any:
        """What a call gave. Raises what the code of an actor raised, and RayError for what Ray lost."""
        return got(self._ray, reference)

    def _lost(self, begun: Begun, actors: Actors, error: Exception) -> None:
        """Begin the video again; let the actor rest, if it was that which was lost."""
        if begun.start >= STARTS_OF_A_VIDEO:
            said = str(error).strip().splitlines()[0]
            raise StriveError(
                f"the Ray cluster lost {begun.job.name} {begun.start} times ({said}): see to its machines, "
                "then start the same command again"
            ) from error
        self._again.append(Begun(job=begun.job, start=begun.start + 1))
        if isinstance(error, self._ray.exceptions.RayActorError) and actors.is_awake(begun.place):
            actor = actors.rest(begun.place)
            # Ray keeps this call until the actor is there again.
            answer = actor.versions.options(max_task_retries=-1).remote()
            self._resting[answer] = (actors, begun.place)

    def _wake(self, reference: Any) -> None:
        actors, place = self._resting.pop(reference)
        self._check(self._get(reference))
        actors.wake(place)


def got(ray: Any, reference: Any) -> Any:
    """`ray.get`, raising what the code of an actor raised as it is meant for the user, or as Ray tells it.

    What Ray lost is a RayError, also where it was an argument of the call.
    """
    errors = ray.exceptions
    try:
        return ray.get(reference)
    except errors.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, (errors.RayError, StriveError)):
            raise cause from None
        raise RuntimeError(f"an actor failed:\n{error}") from error
