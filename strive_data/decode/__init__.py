"""Videos and images to candidate frames: `read_candidates`, and behind it four readers. Imports no torch."""

from __future__ import annotations

from strive_data.common.files import IMAGE_SUFFIXES
from strive_data.config import DecodeSettings
from strive_data.decode.decord_reader import read_by_decord
from strive_data.decode.pictures import read_folder, read_image
from strive_data.decode.pyav_reader import read_video
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates, LocalVideo, TimedFolder

__all__ = ["read_candidates"]


def read_candidates(video: LocalVideo, settings: DecodeSettings) -> Candidates:
    """Decode the candidate frames of a video: those shown at the midpoints of N equal cells of its duration.

    N = `settings.candidates`; frames uint8 RGB [I, H, W, 3] in `storage_size`, times float64 [I], the true
    presentation times in seconds from the first shown frame. I < N where several midpoints fall on one frame
    (short or slow videos) or where damaged frames are lost. Lost frames and frames that damage reaches are
    counted in `info.decode_errors`, and never replaced by a neighbour. Jumps of the file's clock are closed
    and counted in `info.discontinuities`.

    A folder is read as the frames of a video (pictures.py), a file whose name ends as those of pictures
    as one still. For other files, `reader = "auto"` is the planned PyAV reader; the engines give a
    video that hung or killed it to decord (engines/decode_pool.py), which refuses what it may get wrong.
    Raises SampleError of kind missing, empty, not_media, no_moov, no_video_stream, unsupported_codec,
    zero_frames, partial_decode or oom (frames above `max_source_pixels`); MemoryError where the process may
    take no more; UsageError if a forced reader is not installed.
    """
    try:
        if isinstance(video, TimedFolder):
            return read_folder(video.path, settings, fps=video.fps or None, times=video.frame_times)
        if video.is_dir():
            return read_folder(video, settings)
        if video.suffix.lower() in IMAGE_SUFFIXES:
            return read_image(video, settings)
        read = read_by_decord if settings.reader == "decord" else read_video
        return read(video, settings)
    except OSError as error:
        # A file that may not be read, a name that is too long: this video alone fails.
        raise SampleError(FailureKind.MISSING, f"{video}: {error.strerror or error}") from error
