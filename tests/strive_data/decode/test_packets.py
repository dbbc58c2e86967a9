from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av.error
import pytest

from strive_data.config import DecodeSettings
from strive_data.decode.media import open_media
from strive_data.decode.packets import packets_of, packets_until_error
from tools.barcodes.clip import Clip
from tools.barcodes.corpus import CLOSED, OPEN_TS


@dataclass(frozen=True)
class FakePacket:
    size: int


class FakeContainer:
    """Reads on from where it was, as a file does, and raises what is among its packets."""

    def __init__(self, *met: int | Exception) -> None:
        self._met = iter(met)

    def demux(self, stream: object) -> Iterator[FakePacket]:
        for item in self._met:
            if isinstance(item, Exception):
                raise item
            yield FakePacket(item)


def test_a_stream_that_appears_later_is_passed_over() -> None:
    """Found by fuzzing a transport stream: PyAV raises IndexError at each packet of such a stream."""
    container = FakeContainer(5, IndexError(), 6, 0, IndexError(), IndexError(), 7, 0)
    assert [packet.size for packet in packets_of(container, None)] == [5, 6, 7]


@pytest.mark.parametrize("error", [av.error.InvalidDataError(1, "x"), av.error.MemoryError(12, "x")])
def test_an_error_of_the_demuxer_ends_the_packets(error: Exception) -> None:
    """Found by fuzzing: FFmpeg says that it lacks memory for a packet whose size in the index is absurd."""
    assert [packet.size for packet in packets_until_error(FakeContainer(5, error, 6), None)] == [5]
    with pytest.raises(av.error.InvalidDataError):
        list(packets_of(FakeContainer(av.error.InvalidDataError(1, "x")), None))


@pytest.mark.parametrize("clip", [CLOSED, OPEN_TS], ids=lambda clip: clip.name)
def test_all_packets_of_a_file(make_clip: Callable[[Clip], Path], clip: Clip) -> None:
    with open_media(make_clip(clip), DecodeSettings()) as container:
        assert len(list(packets_until_error(container, container.streams.best("video")))) == 90
