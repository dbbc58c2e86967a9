from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates
from strive_data.errors import FailureKind, SampleError
from tools.barcodes import CLOSED, INTRA, encode
from tools.fuzz import (
    BREAKS,
    Examine,
    Findings,
    break_file,
    corpus,
    differing_frames,
    flip_index,
    fuzz,
    is_wrong,
    label,
    print_table,
    splice,
    swap,
    way_and_source,
)

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
    monkeypatch.setattr("tools.fuzz.differing_frames", lambda *_: times[2:4])
    assert Examine(sources=(closed,))(path, SETTINGS).wrong == ()
    assert Examine()(path, SETTINGS).wrong == tuple(times[2:4])


DATA = b"ftyp" + bytes(range(256)) * 40 + b"moov" + bytes(100)


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    (tmp_path / "a.mp4").write_bytes(DATA)
    (tmp_path / "b-c.mkv").write_bytes(bytes(reversed(DATA)))
    return [tmp_path / "a.mp4", tmp_path / "b-c.mkv"]


def test_equal_numbers_give_equal_files_and_others_do_not(sources: list[Path], tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        for number in range(40):
            break_file(number, sources, folder, seed=3)
    names = sorted(path.name for path in one.iterdir())
    assert len(names) == 40
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in names)
    ways = {way_and_source(Path(name))[0] for name in names}
    assert len(ways) >= 8
    assert {way_and_source(Path(n))[1][:5] for n in names} == {"a.mp4", "b-c.m"}
    assert break_file(0, sources, one, seed=4).read_bytes() != (other / names[0]).read_bytes()


@pytest.mark.parametrize("way", [way for way in BREAKS if way not in ("wrong_name", "empty")])
def test_each_way_changes_the_file(way: str) -> None:
    assert BREAKS[way](DATA, DATA[::-1], Random(1)) not in (DATA, b"")


def test_ways_do_what_they_say() -> None:
    flipped = flip_index(DATA, b"", Random(0))
    assert flipped[: DATA.index(b"moov")] == DATA[: DATA.index(b"moov")]
    assert sorted(swap(DATA, b"", Random(0))) == sorted(DATA)
    joined = splice(b"a" * 100, b"b" * 100, Random(0)).decode()
    assert joined == "a" * joined.count("a") + "b" * joined.count("b")


def findings(errors: int = 0, wrong: tuple[float, ...] = (), changed: tuple[float, ...] = ()) -> Findings:
    return Findings(reader="pyav", frames=3, decode_errors=errors, wrong=wrong, changed=changed)


def test_what_a_person_should_look_at() -> None:
    outcomes = {
        "decoded": findings(),
        "decoded, errors counted": findings(1, (2.0,)),
        "decoded, changed unnoticed": findings(changed=(1.0,)),
        "WRONG": findings(wrong=(2.0,)),
        "no_moov": SampleError(FailureKind.NO_MOOV, "x"),
        "crash": SampleError(FailureKind.CRASH, "x"),
    }
    assert [label(outcome) for outcome in outcomes.values()] == list(outcomes)
    assert [name for name, outcome in outcomes.items() if is_wrong(outcome)] == ["WRONG", "crash"]


def test_the_table_has_a_row_a_way_and_a_sum(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(defaultdict(Counter, cut=Counter(decoded=2, empty=1), zero=Counter(decoded=3)))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [["cut", "2", "1"], ["zero", "3"], ["all", "5", "1"]]


@pytest.mark.slow
def test_eighty_broken_files_give_frames_or_a_reason(shared_data: Path, tmp_path: Path) -> None:
    """No crash, no hang, no wrong frame without an error, of real clips and of bar-coded ones."""
    real = sorted((shared_data / "videos").iterdir())
    seen: Counter[str] = Counter()
    for broken, outcome in fuzz([*real, *corpus(tmp_path)], tmp_path, numbers=range(80), seed=0):
        assert not is_wrong(outcome), f"{broken}: {outcome}"
        seen[label(outcome)] += 1
    assert seen.total() == 80
    assert seen["decoded"] > 5
    assert seen["decoded, errors counted"] > 5
    assert len(seen) >= 6
