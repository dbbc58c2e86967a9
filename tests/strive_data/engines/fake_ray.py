"""What `Flow` uses of Ray: calls are done in any order, and actors can be lost."""

from __future__ import annotations

import random
import time
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
    """`get` takes any time: the order of completion is another one than that of the calls."""

    exceptions: Any = field(
        default_factory=lambda: SimpleNamespace(
            RayError=RayError, RayActorError=RayActorError, RayTaskError=RayTaskError
        )
    )
    killed: list[Any] = field(default_factory=list)

    def get(self, reference: Reference) -> Any:
        time.sleep(random.random() / 200)
        if reference.error:
            raise reference.error
        return reference.value

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)


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
        if self.name != "ready" and self.actor.lost:
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
