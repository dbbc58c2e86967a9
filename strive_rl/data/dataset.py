"""Several builds as one sequence of samples, in the order given."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from hashlib import sha256
from itertools import accumulate

from strive_data.errors import UsageError
from strive_data.schema import Sample
from strive_data.shards.reader import ShardSet
from strive_rl.config import DataSettings
from strive_rl.data.views import ViewPlan, plan_views


class Builds:
    """One or more builds read as one; sample ids may occur in several of them."""

    def __init__(self, shards: ShardSet | Sequence[ShardSet]) -> None:
        parts = [shards] if isinstance(shards, ShardSet) else shards
        fingerprints = [part.fingerprint for part in parts]
        twice = next((part for i, part in enumerate(parts) if part.fingerprint in fingerprints[:i]), None)
        if twice:
            raise UsageError(
                f"--shards {twice.folder}: another --shards has the same samples: name each build once"
            )
        self.parts, self.folder = tuple(parts), ", ".join(str(part.folder) for part in parts)
        if not any(map(len, parts)):
            raise UsageError(f"{self.folder}: the build holds no sample to train on")
        joined = sha256("".join(fingerprints).encode()).hexdigest()[:16]
        self.fingerprint = joined if len(parts) > 1 else fingerprints[0]
        self.blocks = tuple(size for part in parts for size in part.blocks)
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1]

    def locate(self, position: int) -> tuple[int, int]:
        """(number of the build, position in it) of a sample."""
        part = bisect_right(self._ends, position)
        return part, position - (self._ends[part - 1] if part else 0)

    def read(self, position: int) -> Sample:
        """The sample at `position`. Raises DamagedError, with the shard's name, where it is not intact."""
        part, inside = self.locate(position)
        return self.parts[part].read(inside)

    def sample_id(self, position: int) -> str:
        """Id of the sample at `position`; known without reading it."""
        part, inside = self.locate(position)
        return self.parts[part].sample_ids[inside]

    def plans(self, settings: DataSettings, *, neighbours: bool = False) -> tuple[ViewPlan, ...]:
        """How to make each build's views. Raises UsageError that names a build that cannot give them."""
        plans = []
        for part in self.parts:
            try:
                plans.append(plan_views(part.settings, settings, neighbours=neighbours))
            except UsageError as error:
                raise UsageError(f"{part.folder}: {error}") from error
        return tuple(plans)
