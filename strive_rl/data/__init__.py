"""The questions of a run: their order, their builds, and their groups, read ahead."""

from strive_rl.data.dataset import Builds, Loader
from strive_rl.data.sampler import Cursor, Stream, cursor_of, next_batch, state_of

__all__ = ["Builds", "Cursor", "Loader", "Stream", "cursor_of", "next_batch", "state_of"]
