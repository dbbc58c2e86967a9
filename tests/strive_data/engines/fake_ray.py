"""What `Flow` uses of Ray, in one thread: the last call is done first, and actors can be lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    pass


class RayActorError(RayError):
    pass


class ObjectLostError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__(f"task: {cause}")
        self.cause = cause


@dataclass(eq=False)
class Reference:
    value: Any = None
    error: Exception | None = None


@dataclass
class FakeRay:
    """`wait` gives the last calls first: the order of completion is the wrong way round."""

    exceptions: Any = field(
        default_factory=lambda: SimpleNamespace(
            RayError=RayError, RayActorError=RayActorError, RayTaskError=RayTaskError
        )
    )
    most_waited: int = 0

    def wait(self, calls: list[Reference], num_returns: int) -> tuple[list[Reference], list[Reference]]:
        self.most_waited = max(self.most_waited, len(calls))
        return calls[-1:], calls[:-1]

    def get(self, reference: Reference) -> Any:
        if reference.error:
            raise reference.error
        return reference.value


class FakeActor:
    """Calls the methods of `host` at once. `lost` counts calls of decode and score that are lost first."""

    def __init__(self, host: Any, *, lost: int = 0, error: Callable[[], Exception] = RayActorError) -> None:
        self.host, self.lost, self.error = host, lost, error
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return FakeMethod(self, name)


@dataclass
class FakeMethod:
    actor: FakeActor
    name: str
    returns: int = 1

    def options(self, num_returns: int = 1, max_task_retries: int = 0) -> FakeMethod:
        return FakeMethod(self.actor, self.name, num_returns)

    def remote(self, *arguments: Any) -> Any:
        references = [Reference() for _ in range(self.returns)]
        self.actor.calls.append(self.name)
        if self.name != "versions" and self.actor.lost:
            self.actor.lost -= 1
            for reference in references:
                reference.error = self.actor.error()
        else:
            self._call(references, arguments)
        return references if self.returns > 1 else references[0]

    def _call(self, references: list[Reference], arguments: tuple[Any, ...]) -> None:
        given = [each.value if isinstance(each, Reference) else each for each in arguments]
        try:
            value = getattr(self.actor.host, self.name)(*given)
        except Exception as error:  # what Ray does
            for reference in references:
                reference.error = RayTaskError(error)
            return
        for reference, each in zip(references, value if self.returns > 1 else (value,), strict=True):
            reference.value = each
