"""What went wrong while a video was decoded, and which frames it reaches.

A damaged picture is handed on by every picture that refers to it, up to the next key frame, and the decoder
marks the first of them only. So a frame counts as damaged when anything between the key frame that its
decoding begins at and the frame itself was.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Damage:
    """Places (packets in decode order) at which decoding raised, and those whose frames came out marked."""

    faults: dict[int, Exception] = field(default_factory=dict)
    marked: set[int] = field(default_factory=set)

    def reaches(self, start: int, place: int) -> bool:
        """Whether a frame, decoded from key frame `start` on, is or refers to something damaged."""
        return any(start <= bad <= place for bad in (*self.faults, *self.marked))
