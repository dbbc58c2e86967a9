"""Nothing leaves its folder."""

from __future__ import annotations

import json
import os
import tarfile
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest

from strive_data.annotations.read import read_annotations
from strive_data.build.verify import verify_build
from strive_data.common.files import add_checksum, write_json
from strive_data.errors import DamagedError, FailureKind, StriveError
from strive_data.shards.format import decode_sample, sample_members
from strive_data.shards.reader import ShardSet
from tests.safety.forgeries import annotation_of, tar_of
from tests.strive_data.made.builds import rewrite_run
from tests.strive_data.made.samples import a_sample


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root beside a secret, with links that lead to it."""
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "inside.mp4").write_bytes(b"video")
    (root / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "far").symlink_to(tmp_path)
    (root / "near.mp4").symlink_to(root / "inside.mp4")
    (root / "loop.mp4").symlink_to(root / "loop.mp4")
    os.mkfifo(root / "pipe.mp4")
    return root


@pytest.mark.parametrize(
    ("video", "kind"),
    [
        ("/etc/passwd", FailureKind.OUTSIDE_ROOT),
        ("../secret.mp4", FailureKind.OUTSIDE_ROOT),
        ("..", FailureKind.OUTSIDE_ROOT),
        ("..\\inside.mp4", FailureKind.OUTSIDE_ROOT),
        ("sub/../../secret.mp4", FailureKind.OUTSIDE_ROOT),
        ("link.mp4", FailureKind.OUTSIDE_ROOT),
        ("far/secret.mp4", FailureKind.OUTSIDE_ROOT),
        ("sub\\..\\..\\secret.mp4", FailureKind.OUTSIDE_ROOT),
        ("C:/secret.mp4", FailureKind.OUTSIDE_ROOT),
        ("\\\\host\\share", FailureKind.OUTSIDE_ROOT),
        ("inside.mp4\0.txt", FailureKind.BAD_ROW),
        ("loop.mp4", FailureKind.MISSING),
        ("pipe.mp4", FailureKind.MISSING),
        ("sub", FailureKind.MISSING),
        ("file:///etc/passwd", FailureKind.OUTSIDE_ROOT),
        ("http://127.0.0.1/x.mp4", FailureKind.OUTSIDE_ROOT),
        ("concat:inside.mp4|/etc/passwd", FailureKind.MISSING),
    ],
)
def test_no_video_of_an_annotation_leaves_the_data_root(root: Path, video: str, kind: FailureKind) -> None:
    read = read_annotations([annotation_of(root, video)], root)
    assert [failure.kind for failure in read.failures] == [kind]
    assert not read.questions


def test_links_within_the_data_root_are_followed(root: Path) -> None:
    (root.parent / "linked").symlink_to(root)
    for folder in (root, root.parent / "linked"):
        assert len(read_annotations([annotation_of(root, "near.mp4")], folder).questions) == 1


def info_of(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


HOSTILE_MEMBERS = [
    info_of("/etc/passwd"),
    info_of("../1.json"),
    info_of("1/../../x.json"),
    info_of("1\\..\\x.json"),
    info_of("1.json/../x"),
    info_of("a" * 60 + "/" + "b" * 60 + ".json"),
    info_of("1.x", tarfile.SYMTYPE, "/etc/passwd"),
    info_of("1.scores.npy", tarfile.SYMTYPE, "../secret"),
    info_of("1.x", tarfile.LNKTYPE, "1.json"),
    info_of("1.x", tarfile.CHRTYPE),
    info_of("1.x", tarfile.BLKTYPE),
    info_of("1.x", tarfile.FIFOTYPE),
    info_of("1.x", tarfile.DIRTYPE),
    info_of("1.json", tarfile.CONTTYPE),
    info_of("2.json"),
    info_of("1.f9999.jpg"),
    info_of("1.json"),
]


@pytest.mark.parametrize("info", HOSTILE_MEMBERS, ids=lambda info: f"{info.type.decode()}{info.name[:20]}")
def test_no_member_of_a_tar_is_anything_but_a_plain_file_of_its_sample(info: tarfile.TarInfo) -> None:
    sound = [(tarfile.TarInfo(f"1.{name}"), content) for name, content in sample_members(a_sample("1"))]
    decode_sample(tar_of(sound))
    for members in ([*sound, (info, b"{}")], [(info, b"{}"), *sound]):
        with pytest.raises(DamagedError):
            decode_sample(tar_of(members))


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "sub/shard-000000.tar", "shard-000000.tar/../x", "x.tar"]
)
def test_no_row_of_the_index_leads_out_of_the_build(build: Path, name: str) -> None:
    rows = pl.read_parquet(build / "index.parquet").with_columns(shard=pl.lit(name))
    rows.write_parquet(build / "index.parquet")
    rewrite_run(build)
    with pytest.raises(DamagedError, match="place in a shard"):
        ShardSet.open(build)


def test_a_record_names_no_file_elsewhere(build: Path) -> None:
    (build.parent / "x.json").write_text("{}")
    body = json.loads((build / "run.json").read_text())
    rewrite_run(build, files=body["files"])
    body = json.loads((build / "run.json").read_text())
    body["files"]["../x.json"] = sha256(b"{}").hexdigest()
    write_json(build / "run.json", add_checksum(body))
    assert [p.file for p in verify_build(build, workers=1).problems] == ["../x.json"]


def test_a_shard_that_is_a_pipe_is_not_waited_for(build: Path) -> None:
    (build / "shard-000000.tar").unlink()
    os.mkfifo(build / "shard-000000.tar")
    with pytest.raises(StriveError, match="not a regular file"):
        ShardSet.open(build).read(0)
    assert verify_build(build, workers=1).problems
