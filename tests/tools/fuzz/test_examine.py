from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates
from tools.barcodes.clip import encode
from tools.barcodes.corpus import CLOSED, INTRA
from tools.fuzz.examine import Examine
from tools.fuzz.sequential import differing_frames

SETTINGS = DecodeSettings(candidates=9, multiple=1)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(CLOSED, tmp_path_factory.mktemp("clips"))


def test_the_oracle_finds_each_frame_that_is_another(closed: Path) -> None:
    got = read_candidates(closed, SETTINGS)
    assert differing_frames(closed, SETTINGS, got) == []
    frames = got.frames.copy()
    frames[3], frames[7, 0, 0, 0] = frames[2], frames[7, 0, 0, 0] ^ 1
    wrong = differing_frames(closed, SETTINGS, replace(got, frames=frames))
    assert wrong == got.times[[3, 7]].tolist()


def test_a_change_without_an_error_is_found_by_comparing_with_the_source(
    closed: Path, tmp_path: Path
) -> None:
    intra = encode(INTRA, tmp_path)
    path = tmp_path / f"0-zero-{CLOSED.name}"
    path.write_bytes(intra.read_bytes())  # the same numbers at the same times, in other bits
    findings = Examine(sources=(closed,))(path, SETTINGS)
    assert findings.decode_errors == 0
    assert not findings.silently_wrong
    assert len(findings.changed) == findings.frames == 9
    assert Examine(sources=(closed,))(path.rename(tmp_path / "0-cut-closed.mp4"), SETTINGS).changed == ()
    np.testing.assert_array_equal(findings.changed, read_candidates(intra, SETTINGS).times)


def test_a_frame_equal_to_that_of_the_intact_file_is_not_wrong(
    closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by fuzzing: damage in a frame that is skipped upset only the decode that did not skip it."""
    path = tmp_path / f"0-zero-{CLOSED.name}"
    path.write_bytes(closed.read_bytes())
    times = read_candidates(closed, SETTINGS).times.tolist()
    monkeypatch.setattr("tools.fuzz.examine.differing_frames", lambda *_: times[2:4])
    assert Examine(sources=(closed,))(path, SETTINGS).wrong == ()
    assert Examine()(path, SETTINGS).wrong == tuple(times[2:4])
