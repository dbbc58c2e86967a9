"""Folders of files, local and remote alike: what is read, what is refused, and how failures are reported."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest

from strive_data.common.storage import CLIENT_ERRORS, Folder, LocalFolder, RemoteFolder, open_folder
from strive_data.errors import DamagedError, StriveError, UsageError

FILES = {"a.tar": bytes(range(256)), "b.json": b"{}", "parts/c.bin": b"xyz"}


@pytest.fixture
def memory() -> Iterator[Any]:
    """The in-memory file system, which is one for the process: emptied behind each test."""
    file_system = fsspec.filesystem("memory")
    yield file_system
    file_system.rm("/", recursive=True)


@pytest.fixture(params=["path", "text", "file://", "memory://"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, memory: Any) -> Folder:
    """The same files behind every kind of place."""
    if request.param == "memory://":
        for name, content in FILES.items():
            memory.pipe_file(f"/bucket/build/{name}", content)
        return open_folder("memory://bucket/build")
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    texts = {"text": str(tmp_path), "file://": f"file://{tmp_path}"}
    return open_folder(texts.get(request.param, tmp_path))


def test_files_and_ranges_are_read(folder: Folder) -> None:
    assert folder.read("a.tar") == FILES["a.tar"]
    assert folder.read("parts/c.bin") == b"xyz"
    assert folder.read_range("a.tar", 250, 6) == bytes(range(250, 256))
    assert folder.read_range("a.tar", 0, 1) == b"\0"
    assert (folder.exists("a.tar"), folder.exists("z.tar"), folder.exists()) == (True, False, True)


def test_what_is_gone_or_cut_short_is_damage(folder: Folder) -> None:
    for ask in (folder.read, lambda name: folder.read_range(name, 0, 1)):
        with pytest.raises(DamagedError, match=r"cannot read .*/z\.tar: no such file"):
            ask("z.tar")
    for offset, size in ((250, 7), (256, 1), (1000, 1)):
        with pytest.raises(DamagedError, match=r"a\.tar: bytes .* are not all there .*cut short"):
            folder.read_range("a.tar", offset, size)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "s3://bucket/x", "a\\b", "a\0b"])
def test_a_name_leads_nowhere_but_below_its_folder(folder: Folder, name: str) -> None:
    with pytest.raises(DamagedError, match="not the name of a file below its folder"):
        folder.read_range(name, 0, 1)


def test_where_a_place_is() -> None:
    assert isinstance(open_folder("some/folder"), LocalFolder)
    assert isinstance(open_folder("odd:name/folder"), LocalFolder)
    place = open_folder("file:///a%20b/c")
    assert isinstance(place, LocalFolder)
    assert place.path == Path("/a b/c")
    remote = open_folder("memory://bucket/x/")
    assert isinstance(remote, RemoteFolder)
    assert (str(remote), remote.path) == ("memory://bucket/x/", "/bucket/x")
    assert open_folder(remote) is remote


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("pipe:cat /etc/passwd", "runs a command"),
        ("PIPE:ls", "runs a command"),
        ("pipe://ls", "runs a command"),
        ("simplecache::s3://bucket/x", "chained"),
        ("zip://x::file:///a.zip", "chained"),
        ("reference://x", "scheme 'reference' is not among"),
        ("dask://x", "scheme 'dask' is not among"),
        ("nothing://x", "scheme 'nothing' is not among"),
        ("sftp://me:secret@host/x", "holds a password"),
    ],
)
def test_what_is_no_plain_storage_is_refused(url: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        open_folder(url)
    assert "secret" not in str(caught.value)


def test_a_client_that_is_not_installed_is_named() -> None:
    with pytest.raises(UsageError, match=r"oci://bucket/x: .*ocifs"):
        open_folder("oci://bucket/x")


def test_a_scheme_that_this_fsspec_does_not_know_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strive_data.common.storage.SCHEMES", frozenset({"future"}))
    with pytest.raises(UsageError, match=r"^future://bucket: Protocol not known: future"):
        open_folder("future://bucket")


class Failing:
    """A file system whose storage raises what it is given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def cat_file(self, path: str, **_: int) -> bytes:
        raise self.error


class NoCredentialsError(Exception):
    """Of a client library, not an OSError."""


def test_a_storage_that_does_not_answer_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIVE_STORAGE_TRIES", "1")
    client = type("client", (), {"BotoCoreError": NoCredentialsError})
    monkeypatch.setitem(__import__("sys").modules, CLIENT_ERRORS[0][0], client)
    cases: list[tuple[Exception, str]] = [
        (PermissionError("Access\nDenied"), "Access Denied"),
        (TimeoutError(), "TimeoutError"),
        (NoCredentialsError("Unable to locate credentials"), "Unable to locate credentials"),
    ]
    for error, text in cases:
        with pytest.raises(StriveError, match=f"^cannot read s3://b/x: {text}$") as caught:
            RemoteFolder("s3://b", Failing(error), "b").read("x")
        assert not isinstance(caught.value, DamagedError)
    with pytest.raises(ValueError, match="a bug"):
        RemoteFolder("s3://b", Failing(ValueError("a bug")), "b").read("x")


class Refusing:
    """An object store: a range that begins behind the end of its 100 bytes is an error of its own."""

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        if start >= 100:
            raise OSError(22, "The requested range is not satisfiable")
        raise OSError(110, "Connection timed out")

    def size(self, path: str) -> int:
        return 100


def test_a_range_that_the_storage_refuses_is_damage_only_behind_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Regression: S3 answered a shard cut before a sample's first byte as if it could not be asked."""
    monkeypatch.setenv("STRIVE_STORAGE_TRIES", "1")
    folder = RemoteFolder("s3://b", Refusing(), "b")
    with pytest.raises(DamagedError, match="cut short"):
        folder.read_range("x", 100, 4)
    with pytest.raises(StriveError, match="Connection timed out") as caught:
        folder.read_range("x", 99, 4)
    assert not isinstance(caught.value, DamagedError)


def test_a_server_that_answers_a_range_with_the_whole_file_is_reported() -> None:
    rangeless = SimpleNamespace(cat_file=lambda path, **_: b"everything")
    with pytest.raises(StriveError, match="does not serve ranges"):
        RemoteFolder("http://h/b", rangeless, "b").read_range("x", 0, 4)


def test_a_missing_client_is_said_with_the_extra_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(url: str, **_: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", absent)
    with pytest.raises(UsageError, match=r"^s3://b/x: Install s3fs .*extra of this package, \[s3\]$"):
        open_folder("s3://b/x")
    with pytest.raises(UsageError, match=r"to access S3$"):
        open_folder("oci://b/x")


def test_a_remote_file_is_put_fetched_sized_and_removed(tmp_path: Path) -> None:
    folder = open_folder("memory://put/here")
    assert isinstance(folder, RemoteFolder)
    assert folder.sizes() == {}
    (tmp_path / "a").write_bytes(b"abc")
    folder.put("x.bin", tmp_path / "a")
    assert folder.sizes() == {"x.bin": 3}
    folder.fetch("x.bin", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"abc"
    folder.remove("x.bin")
    folder.remove("x.bin")
    assert folder.sizes() == {}
    with pytest.raises(DamagedError, match=r"'\.\./x' is not the name of a file below its folder"):
        folder.put("../x", tmp_path / "a")


class Shaky:
    """A file system that fails some times before it answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def cat_file(self, path: str) -> bytes:
        if self.errors:
            raise self.errors.pop(0)
        return b"here"


def test_a_storage_that_answers_late_is_asked_again_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("strive_data.common.signals.GIVE_UP.wait", lambda seconds: False)
    shaky = Shaky(TimeoutError(), OSError(16, "Please reduce your request rate"))
    folder = RemoteFolder("s3://b", shaky, "b")
    assert folder.read("x") == b"here"
    assert capsys.readouterr().err == "s3://b: no answer (TimeoutError); trying 2 more times\n"
    shaky.errors = [ConnectionResetError(104, "Connection reset")] * 3
    with pytest.raises(StriveError, match="Connection reset"):
        folder.read("x")
    shaky.errors = [PermissionError("no"), TimeoutError()]
    with pytest.raises(StriveError, match=r"no$"):
        folder.read("x")
    assert len(shaky.errors) == 1
    monkeypatch.setenv("STRIVE_STORAGE_TRIES", "none")
    with pytest.raises(UsageError, match=r"STRIVE_STORAGE_TRIES: got 'none'"):
        folder.read("x")


def test_a_signal_ends_the_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    shaky = Shaky(TimeoutError(), TimeoutError())
    monkeypatch.setattr("strive_data.common.signals.GIVE_UP.wait", lambda seconds: True)
    with pytest.raises(StriveError, match="TimeoutError"):
        RemoteFolder("s3://b", shaky, "b").read("x")
    assert len(shaky.errors) == 1


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    held.append(server.accept()[0])

        Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        for connection in held:
            connection.close()


@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_a_server_that_answers_nothing_ends_in_one_line(
    silent: int, scheme: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("s3fs" if scheme == "s3" else "aiohttp")
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent}",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "STRIVE_STORAGE_TIMEOUT_SECONDS": "1",
        "STRIVE_STORAGE_TRIES": "2",
    }.items():
        monkeypatch.setenv(name, value)
    url = "s3://bucket/built" if scheme == "s3" else f"http://127.0.0.1:{silent}/built"
    folder = open_folder(url)
    started = time.monotonic()
    with pytest.raises(StriveError, match=f"^cannot read {url}/run.json: ") as caught:
        folder.exists("run.json")
    assert time.monotonic() - started < 15
    assert "\n" not in str(caught.value)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{url}: no answer (")
