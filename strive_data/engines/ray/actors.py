"""Which actor gets the next call. Pure: an actor may be anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
