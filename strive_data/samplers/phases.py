"""The phase φ of a sample: all the chance there is in a sampler."""

from __future__ import annotations

from hashlib import sha256

import numpy as np

EVALUATION_PHASE = 0.5


def phase(seed: int, sample_id: str, epoch: int) -> float:
    """φ in [0, 1) for one epoch of one sample; the same on every machine, and needs no state.

    Philox keyed by a hash of (seed, sample id), its counter the epoch; raw bits, so that no change of
    numpy's distributions can move it. Evaluation uses φ = ½ instead.
    """
    key = int.from_bytes(sha256(f"{seed}\0{sample_id}".encode()).digest()[:16], "little")
    bits = np.random.Philox(key=key, counter=epoch).random_raw()
    return float(int(bits) >> 11) * 2.0**-53
