"""Videos that two builds share: near-duplicates by their frames, the very same packets by their id."""

from strive_data.overlap.embed import PICTURE, STORED, embed_by
from strive_data.overlap.find import OverlapSettings, find_overlap, threshold_of
from strive_data.overlap.show import as_overlap_text

__all__ = [
    "PICTURE",
    "STORED",
    "OverlapSettings",
    "as_overlap_text",
    "embed_by",
    "find_overlap",
    "threshold_of",
]
