from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from strive_data.common.files import write_json
from strive_data.shards.checksums import (
    CHECKSUM_KEY,
    add_checksum,
    checksum_matches,
    file_hashes,
    file_sha256,
    json_bytes,
)


def test_hashes_of_files_are_those_of_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"x" * 3_000_000)
    (tmp_path / "a").write_bytes(b"")
    assert file_sha256(tmp_path / "b") == sha256(b"x" * 3_000_000).hexdigest()
    assert list(file_hashes(tmp_path, ["b", "a"])) == ["a", "b"]


def test_the_sealed_text_is_the_one_that_is_written(tmp_path: Path) -> None:
    body = {"é": [1, 2.5, None], "b": {"c": "\n"}}
    write_json(tmp_path / "x.json", add_checksum(body))
    content = (tmp_path / "x.json").read_bytes()
    assert content == json_bytes(add_checksum(body))
    assert list(add_checksum(body)) == ["é", "b", CHECKSUM_KEY]
    assert checksum_matches(content, add_checksum(body))
    assert add_checksum(add_checksum(body)) == add_checksum(body)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers() | st.text("ab\n é")), st.data())
def test_no_other_value_and_no_other_spelling_is_sealed(body: dict[str, object], data: st.DataObject) -> None:
    sealed = add_checksum(body)
    content = json_bytes(sealed)
    at = data.draw(st.integers(0, len(content) - 1))
    flipped = bytearray(content)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    assert not checksum_matches(bytes(flipped), sealed)
    assert not checksum_matches(content, sealed | {"more": 1})
