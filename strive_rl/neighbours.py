"""Which candidates stand beside the chosen ones where each temporal patch shows two adjacent frames. Pure."""

from __future__ import annotations

import numpy as np

from strive_data.errors import UsageError
from strive_data.schema import Indices


def with_neighbours(chosen_K: Indices, held_S: Indices, candidates: int) -> Indices:
    """Each chosen candidate and the next one of the video, int32 [2K]; the last of all stands twice.

    So a pair never spans more than one gap between candidates, and its mean time lies within half of one of
    the chosen frame's. Raises UsageError where the next one is not among the candidates that are held.
    """
    beside = np.minimum(np.asarray(chosen_K) + 1, candidates - 1)
    missing = np.setdiff1d(beside, held_S)
    if len(missing):
        raise UsageError(
            f"policy.frame_pairs=neighbours: candidate {missing[0]} stands beside a chosen one, but the "
            "shards do not hold it; build them again with --set shard.frames=all, or use frame_pairs=doubled"
        )
    return np.stack([chosen_K, beside], axis=1).reshape(-1).astype(np.int32)
