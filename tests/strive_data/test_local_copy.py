from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from strive_data.errors import StriveError, UsageError
from strive_data.local_copy import TABLES_AND_RECORD, local_copy, local_folder
from strive_data.storage import RemoteFolder, open_folder
from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_sample

URL = "memory://bucket/built"


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Path]:
    folder, store = write_build(tmp_path / "built", [a_sample(name) for name in "abc"]), open_folder(URL)
    assert isinstance(store, RemoteFolder)
    for path in folder.iterdir():
        store.put(path.name, path)
    yield folder
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def test_a_copy_has_all_files_or_the_tables_and_is_gone_afterwards(built: Path) -> None:
    with local_copy(URL, tables_only=False) as copy:
        found = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert found == {path.name: path.read_bytes() for path in built.iterdir()}
    with local_copy(URL, tables_only=True) as copy:
        assert {path.name for path in copy.iterdir()} == TABLES_AND_RECORD
    assert not copy.exists()


def test_a_folder_of_this_machine_is_used_as_it_is(tmp_path: Path) -> None:
    for where in (str(tmp_path), f"file://{tmp_path}"):
        with local_copy(where, tables_only=True) as folder:
            assert folder == tmp_path
        assert local_folder(where) == tmp_path


def test_what_is_no_build_or_too_large_is_refused(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no such folder: memory://bucket/none"):
        local_copy("memory://bucket/none", tables_only=True).__enter__()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5))
    with pytest.raises(StriveError, match=r"bytes are to be read, and .* has room for 5"):
        local_copy(URL, tables_only=True).__enter__()
    with pytest.raises(
        UsageError, match=f"{URL}: this command reads folders of this machine; copy the build"
    ):
        local_folder(URL)
