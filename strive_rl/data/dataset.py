"""Several builds as one sequence of samples, in the order given."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from itertools import accumulate

import polars as pl

from strive_data.common.text import plural
from strive_data.errors import DamagedError, StriveError, UsageError
from strive_data.schema import Sample
from strive_data.shards.manifest import FILES, SAMPLES_FILE
from strive_data.shards.reader import SEE_VERIFY, ShardSet
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


def trained_videos(builds: Builds, heldout: ShardSet) -> str:
    """A warning where videos of `heldout` are trained on, by the builds' tables; "" where none is."""
    try:
        held = _video_ids(heldout)
        shared = {str(part.folder): held & _video_ids(part) for part in builds.parts}
    except StriveError as error:
        return f"whether held-out videos are trained on is not known: {error}"
    trained = set().union(*shared.values())
    if not trained:
        return ""
    folder = next(name for name, videos in shared.items() if videos)
    return (
        f"{len(trained)} of {plural(len(held), 'held-out video')} are trained on: accuracy will be too high; "
        f"`strive-data overlap {folder} {heldout.folder}` lists them"
    )


def _video_ids(shards: ShardSet) -> set[str]:
    """Ids of a build's videos: equal bytes have equal ids."""
    where = f"{shards.folder}/{SAMPLES_FILE}"
    if not shards.folder.exists(SAMPLES_FILE):
        raise DamagedError(f"no such file: {where}; {SEE_VERIFY}")
    content = shards.folder.read(SAMPLES_FILE)
    digest = sha256(content).hexdigest()
    if shards.run.get(FILES, {}).get(SAMPLES_FILE, digest) != digest:
        raise DamagedError(f"{where} does not have the checksum of run.json: {SEE_VERIFY}")
    return set(pl.read_parquet(BytesIO(content), columns=["video_id"])["video_id"])
