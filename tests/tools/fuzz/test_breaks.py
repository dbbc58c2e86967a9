from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tools.fuzz.breaks import BREAKS, break_file, flip_index, splice, swap, way_and_source

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
