from __future__ import annotations

import json
from pathlib import Path

import pytest

from strive_data.common.files import (
    is_temporary,
    replacing,
    sync_folder,
    temporary_of,
    write_bytes,
    write_json,
)


def test_json_is_whole_or_absent(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": "é"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": "é"}
    write_bytes(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"new"
    sync_folder(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_what_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"old")

    def write_half() -> None:
        with replacing(tmp_path / "a") as temporary:
            temporary.write_bytes(b"half")
            assert is_temporary(temporary)
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        write_half()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_temporary_names_are_known_again() -> None:
    assert temporary_of(Path("x/a.json")) == Path("x/.a.json.tmp")
    assert is_temporary(Path("x/.a.json.tmp"))
    assert not is_temporary(Path("x/a.json.tmp"))
    assert not is_temporary(Path("x/.a.json"))
