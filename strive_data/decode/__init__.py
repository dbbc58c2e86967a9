"""Video files to candidate frames: `read_candidates`, behind it two readers. Imports no torch."""

from strive_data.decode.reader import FrameReader, read_candidates

__all__ = ["FrameReader", "read_candidates"]
