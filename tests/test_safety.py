"""Safe to feed with strangers' files: each thing that a hostile file could try, tried.

Annotations, videos' names, shards, tables, scores and caches may come from anyone. None of them makes code
run, a path leave its folder, or memory be taken on the word of a header.
"""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import simplejpeg

from strive_data.annotations import read_annotations
from strive_data.atomic import write_json
from strive_data.cache import read_entry, write_entry
from strive_data.cli import app
from strive_data.config import ScoreSettings
from strive_data.errors import DamagedError, FailureKind, SampleError, StriveError, UsageError
from strive_data.jpeg import decode_jpeg, jpeg_size
from strive_data.npy import npy_bytes, read_npy
from strive_data.overview import build_overview
from strive_data.plot import write_plot
from strive_data.query import sample_ids
from strive_data.report import Selection, write_report
from strive_data.sample_json import MAX_JSON_BYTES
from strive_data.sample_tar import decode_sample, sample_members
from strive_data.schema import MAX_FRAME_PIXELS
from strive_data.score.precomputed import PrecomputedScorer
from strive_data.seal import seal
from strive_data.shards import ShardSet
from strive_data.stills import stills_of
from strive_data.verify import verify_build
from tests.strive_data.builds import reseal, write_build
from tests.strive_data.samples import a_question, a_sample, some_candidates

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for part in ("strive_data", "strive_rl", "tools") for path in (ROOT / part).rglob("*.py")
)


class Bomb:
    """Unpickled, it makes the file that it names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Path]:
    """A path that exists after the test only if something that a file said was run."""
    path = tmp_path / "was-run"
    yield path
    assert not path.exists()


@pytest.fixture
def build(tmp_path: Path) -> Path:
    return write_build(tmp_path / "build", [a_sample("1"), a_sample("2")])


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for info, content in members:
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return buffer.getvalue()


def sample_tar(change: Callable[[str, bytes], tuple[str, bytes]]) -> bytes:
    """The tar of a sound sample, with each (name, content) changed."""
    pairs = [change(f"1.{name}", content) for name, content in sample_members(a_sample("1"))]
    return tar_of([(tarfile.TarInfo(name), content) for name, content in pairs])


def plant(build: Path, block: bytes) -> None:
    """Put the tar bytes into the build as its only sample, every checksum right: the work of a forger."""
    (build / "shard-000000.tar").write_bytes(block)
    digest = sha256(block).hexdigest()
    row = {"sample_id": "1", "shard": "shard-000000.tar", "offset": 0, "length": len(block), "sha256": digest}
    pl.DataFrame([row]).write_parquet(build / "index.parquet")
    body = json.loads((build / "shard-000000.json").read_text())
    entry = body["samples"][0] | {"length": len(block), "sha256": digest}
    body |= {"samples": [entry], "size_bytes": len(block), "sha256": digest}
    write_json(build / "shard-000000.json", body)
    reseal(build)


# --- Nothing that a file says is run ---------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["pyd", "pkl", "pickle", "pth", "pt", "dill"])
def test_pickled_members_of_a_shard_are_refused_unread(build: Path, trace: Path, suffix: str) -> None:
    members = [*sample_members(a_sample("1")), (suffix, pickle.dumps(Bomb(trace)))]
    block = tar_of([(tarfile.TarInfo(f"1.{name}"), content) for name, content in members])
    with pytest.raises(DamagedError, match=f"1.{suffix} is no member of the schema; it is not read"):
        decode_sample(block)
    plant(build, block)
    with pytest.raises(DamagedError, match="not read"):
        ShardSet.open(build).read(0)
    assert any("not read" in problem.what for problem in verify_build(build, workers=1).problems)


def object_array(trace: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb(trace)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["scores.npy", "times.npy", "variants.npy", "uniform.npy", "stored.npy"])
def test_arrays_of_objects_are_refused_unread(trace: Path, name: str) -> None:
    block = sample_tar(
        lambda member, content: (member, object_array(trace) if member == f"1.{name}" else content)
    )
    with pytest.raises(DamagedError, match=f"{name}: the array is of type object"):
        decode_sample(block)


def test_precomputed_scores_and_cache_entries_hold_no_pickle(tmp_path: Path, trace: Path) -> None:
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "1.npy").write_bytes(object_array(trace))
    (tmp_path / "scores" / "2.npy").write_bytes(pickle.dumps(Bomb(trace)))
    scorer = PrecomputedScorer(ScoreSettings(scorer="precomputed", scores=str(tmp_path / "scores")))
    for result in scorer.score(some_candidates(), [a_question("1"), a_question("2")]):
        assert isinstance(result, SampleError)
    entry = forged_entry(tmp_path, times=object_array(trace))
    assert read_entry(entry) is None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_file_unpickles_evaluates_or_shells(path: Path) -> None:
    # A benchmark may read tars with webdataset, whose `decode` runs pickles; nothing else does.
    allowed = {"webdataset.WebDataset"} if path.is_relative_to(ROOT / "tools" / "bench") else set()
    wrong = {what for _, what in unsafe_calls(ast.parse(path.read_text()))} - allowed
    assert not wrong


BANNED = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads",
    "pickle.Unpickler", "marshal.load", "marshal.loads", "shelve.open", "joblib.load", "dill.load",
    "dill.loads", "yaml.load", "torch.hub.load", "webdataset.WebDataset", "wds.WebDataset", "np.fromfile",
    "runpy.run_path", "np.lib.format.read_array",
}  # fmt: skip
MUST = {
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "torch.load": ("weights_only", True),
}


def unsafe_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        said = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
        if name in BANNED or said.get("shell") is True or said.get("allow_pickle") is True:
            yield node.lineno, name
        if name in MUST and said.get(MUST[name][0]) is not MUST[name][1]:
            yield node.lineno, f"{name} without {MUST[name][0]}={MUST[name][1]}"
        # peft's adapters are tensors and JSON: its loaders have no such option.
        takes_code = name.endswith(".from_pretrained") and not name.startswith("Peft")
        if takes_code and said.get("trust_remote_code") is not False:
            yield node.lineno, f"{name} without trust_remote_code=False"
        if said.get("trust_remote_code") is True:
            yield node.lineno, f"{name} trusts remote code"


def test_the_check_of_the_sources_sees_what_it_looks_for() -> None:
    bad = (
        "eval(x)\nnp.load(f)\ntorch.load(f)\nAutoModel.from_pretrained(m)\npickle.loads(b)\n"
        "subprocess.run(c, shell=True)\nnp.load(f, allow_pickle=True)"
    )
    assert {line for line, _ in unsafe_calls(ast.parse(bad))} == {1, 2, 3, 4, 5, 6, 7}
    good = "np.load(f, allow_pickle=False)\ntorch.load(f, weights_only=True)\nmodel.eval()"
    assert not list(unsafe_calls(ast.parse(good)))


COMMANDS = [
    "pipe:mkdir {trace}",
    "pipe:mkdir {trace} |",
    "| mkdir {trace}",
    "$(mkdir {trace})",
    "`mkdir {trace}`",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_path_is_a_shell_command(tmp_path: Path, trace: Path, command: str) -> None:
    said = command.format(trace=trace)
    with pytest.raises(StriveError):
        ShardSet.open(said)
    with pytest.raises(StriveError):
        read_annotations([Path(said)], tmp_path)
    with pytest.raises(StriveError):
        PrecomputedScorer(ScoreSettings(scorer="precomputed", scores=said))
    for arguments in (
        ["build", said, "--data-root", said, "--out", said],
        ["inspect", said],
        ["report", said, "--out", said],
        ["verify", said],
        ["merge", said, "x", "--out", said],
        ["overlap", said, said],
    ):
        with pytest.raises(StriveError):
            app(arguments, standalone_mode=False)
    annotation = annotation_of(tmp_path, said)
    (failure,) = read_annotations([annotation], tmp_path).failures
    assert failure.kind in (FailureKind.MISSING, FailureKind.OUTSIDE_ROOT)


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:9/x::file:///etc", "simplecache::memory://x", "jar://x", "python://x"]
)
def test_no_url_chains_or_runs(where: str) -> None:
    with pytest.raises(UsageError):
        ShardSet.open(where)


# --- Nothing leaves its folder ---------------------------------------------------------------------------


def annotation_of(folder: Path, video: str) -> Path:
    path = folder / "questions.jsonl"
    row = {"id": "1", "video": video, "question": "What?", "answer": "A", "options": ["A. x", "B. y"]}
    path.write_text(json.dumps(row) + "\n")
    return path


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
        ("sub/../../secret.mp4", FailureKind.OUTSIDE_ROOT),
        ("link.mp4", FailureKind.OUTSIDE_ROOT),
        ("far/secret.mp4", FailureKind.OUTSIDE_ROOT),
        ("sub\\..\\secret.mp4", FailureKind.OUTSIDE_ROOT),
        ("C:/secret.mp4", FailureKind.OUTSIDE_ROOT),
        ("\\\\host\\share", FailureKind.OUTSIDE_ROOT),
        ("inside.mp4\0.txt", FailureKind.BAD_ROW),
        ("loop.mp4", FailureKind.MISSING),
        ("pipe.mp4", FailureKind.MISSING),
        ("sub", FailureKind.MISSING),
        ("file:///etc/passwd", FailureKind.MISSING),
        ("http://127.0.0.1/x.mp4", FailureKind.MISSING),
        ("concat:inside.mp4|/etc/passwd", FailureKind.MISSING),
    ],
)
def test_no_video_of_an_annotation_leaves_the_data_root(root: Path, video: str, kind: FailureKind) -> None:
    read = read_annotations([annotation_of(root, video)], root)
    assert [failure.kind for failure in read.failures] == [kind]
    assert not read.questions


def test_links_within_the_data_root_are_followed(root: Path) -> None:
    assert len(read_annotations([annotation_of(root, "near.mp4")], root).questions) == 1


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
    reseal(build)
    with pytest.raises(DamagedError, match="no place in a shard"):
        ShardSet.open(build)


def test_a_record_names_no_file_elsewhere(build: Path) -> None:
    (build.parent / "x.json").write_text("{}")
    body = json.loads((build / "run.json").read_text())
    reseal(build, files=body["files"])
    body = json.loads((build / "run.json").read_text())
    body["files"]["../x.json"] = sha256(b"{}").hexdigest()
    write_json(build / "run.json", seal(body))
    assert [p.file for p in verify_build(build, workers=1).problems] == ["../x.json"]


def test_a_shard_that_is_a_pipe_is_not_waited_for(build: Path) -> None:
    (build / "shard-000000.tar").unlink()
    os.mkfifo(build / "shard-000000.tar")
    with pytest.raises(StriveError, match="not a regular file"):
        ShardSet.open(build).read(0)
    assert verify_build(build, workers=1).problems


# --- No size is taken on trust ---------------------------------------------------------------------------


def jpeg_claiming(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    jpeg = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def test_image_bombs_are_refused_by_their_header(build: Path, tmp_path: Path) -> None:
    bomb = jpeg_claiming(65000, 65000)
    for read in (jpeg_size, decode_jpeg):
        with pytest.raises(
            DamagedError, match=rf"65000×65000 pixels, more than the limit of {MAX_FRAME_PIXELS}"
        ):
            read(bomb)
    plant(build, sample_tar(lambda name, content: (name, bomb if name.endswith(".jpg") else content)))
    with pytest.raises(DamagedError, match="image bomb"):
        write_report(build, tmp_path / "r.html", Selection())
    with pytest.raises(DamagedError, match="image bomb"):
        write_plot(build, "1", tmp_path / "p.png")
    assert any("image bomb" in problem.what for problem in verify_build(build, workers=1).problems)


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a" + bytes(50), b"%!PS-Adobe (file) run", b"\x89PNG\r\n\x1a\n" + bytes(40)]
)
def test_only_jpeg_is_opened_as_a_frame(content: bytes) -> None:
    with pytest.raises(DamagedError, match="not a JPEG image"):
        decode_jpeg(content)


def npy_claiming(shape: str, descr: str = "<f4", body: bytes = bytes(40)) -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


@pytest.mark.parametrize(
    "content",
    [
        npy_claiming("(1000000000000,)"),
        npy_claiming("(1000000, 1000000, 1000000)"),
        npy_claiming("(9,)"),
        npy_claiming("(11,)"),
        npy_claiming("(-1, -10)"),
        npy_claiming("(10,)", "|O"),
        npy_claiming("(10,)", "<U1"),
        npy_claiming("(10,)", "<M8[s]", bytes(80)),
        npy_claiming("(10,)", "<c8", bytes(80)),
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x03\x00" + bytes(60),
        pickle.dumps([1.0]),
    ],
)
def test_arrays_of_another_size_or_type_are_refused_before_they_are_made(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(ValueError, match=r"array|magic|header|EOF"):
        read_npy(content)
    block = sample_tar(lambda name, old: (name, content if name == "1.scores.npy" else old))
    with pytest.raises(DamagedError, match=r"scores\.npy"):
        decode_sample(block)
    (tmp_path / "1.npy").write_bytes(content)
    scorer = PrecomputedScorer(ScoreSettings(scorer="precomputed", scores=str(tmp_path)))
    (result,) = scorer.score(some_candidates(), [a_question("1")])
    assert isinstance(result, SampleError)


def test_a_sound_array_survives() -> None:
    for array in (np.arange(6, dtype=np.int32).reshape(2, 3), np.zeros((0,), np.float64), np.float16([1, 2])):
        np.testing.assert_array_equal(read_npy(npy_bytes(array), dtype=array.dtype), array)


def test_member_sizes_and_json_are_bounded() -> None:
    block = bytearray(sample_tar(lambda name, content: (name, content)))
    block[124:136] = b"77777777777\0"
    with pytest.raises(DamagedError, match=r"claims 8589934591 bytes, but \d+ follow"):
        decode_sample(bytes(block))
    block[124:136] = b"\x80" + bytes(10) + b"\x01"
    with pytest.raises(DamagedError, match="no size in octal"):
        decode_sample(bytes(block))
    for content in (b" " * (MAX_JSON_BYTES + 1), b"[" * 100_000, b"{}", b"[]", b"\xff", b"{"):
        with pytest.raises(DamagedError):
            decode_sample(sample_tar(lambda name, old, new=content: (name, new if name == "1.json" else old)))


@pytest.mark.parametrize(
    "change",
    [
        {"question": 7}, {"options": "A"}, {"options": [1]}, {"width": "9"}, {"width": 10**400},
        {"views": [[]]},
        {"duration_seconds": float("nan")}, {"evidence_spans": [[1]]}, {"sampler": []}, {"problem_type": "x"},
        {"query_windows": None},
    ],
)  # fmt: skip
def test_values_of_another_type_in_the_json_are_refused(change: dict[str, object]) -> None:
    def changed(name: str, content: bytes) -> tuple[str, bytes]:
        return name, json.dumps(json.loads(content) | change).encode() if name == "1.json" else content

    with pytest.raises(DamagedError):
        decode_sample(sample_tar(changed))


def forged_entry(folder: Path, *, compressed: bool = False, **arrays: bytes) -> Path:
    """A cache entry with some of its arrays replaced, under a digest that holds."""
    entry = folder / "ab" / "abc.npz"
    write_entry(entry, stills_of(some_candidates(), 90), np.zeros((10, 2), np.float32))
    with zipfile.ZipFile(io.BytesIO(entry.read_bytes()[:-32])) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents |= {f"{name}.npy": content for name, content in arrays.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    payload = buffer.getvalue()
    entry.write_bytes(payload + sha256(entry.stem.encode() + payload).digest())
    return entry


def test_a_forged_cache_entry_is_none(tmp_path: Path) -> None:
    assert read_entry(forged_entry(tmp_path)) is not None
    assert (
        read_entry(forged_entry(tmp_path, jpegs=npy_bytes(np.zeros(1 << 26, np.uint8)), compressed=True))
        is None
    )
    assert read_entry(forged_entry(tmp_path, times=npy_claiming("(1000000000000,)", "<f8"))) is None
    assert read_entry(forged_entry(tmp_path, times=npy_bytes(np.zeros(3)))) is None
    assert read_entry(forged_entry(tmp_path, jpeg_sizes=npy_bytes(np.full(10, -1)))) is None
    assert read_entry(forged_entry(tmp_path, info=npy_bytes(np.frombuffer(b"[1]", np.uint8)))) is None


# --- Text is text, and damage is told ----------------------------------------------------------------------


def test_questions_are_no_html(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
    sample = a_sample("<b>1")
    question = replace(
        sample.meta.question, question=evil, options=(f"A. {evil}", "B. x"), video=f"{evil}.mp4"
    )
    sample = replace(sample, meta=replace(sample.meta, question=question, scorer=evil))
    build = write_build(tmp_path / "b", [sample] * 1)
    write_report(build, tmp_path / "r.html", Selection())
    page = (tmp_path / "r.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize("name", ["run.json", "index.parquet", "samples.parquet", "shard-000000.tar"])
@pytest.mark.parametrize("harm", ["flip", "cut", "gone"])
def test_a_damaged_build_is_told_in_one_line(build: Path, tmp_path: Path, name: str, harm: str) -> None:
    """By every command that reads it: no traceback, and the file is named."""
    path = build / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content if harm == "flip" else content[: len(content) // 2])
    if harm == "gone":
        path.unlink()
    readers: list[Callable[[], object]] = []
    if name != "samples.parquet":
        readers += [
            lambda: [shards.read(i) for shards in [ShardSet.open(build)] for i in range(2)],
            lambda: write_report(build, tmp_path / "r.html", Selection()),
            lambda: [write_plot(build, sample_id, tmp_path / "p.png") for sample_id in "12"],
        ]
    if name in ("run.json", "samples.parquet"):
        readers += [lambda: build_overview(build), lambda: sample_ids(build)]
    if name != "shard-000000.tar":
        readers.append(lambda: app(["overlap", str(build), str(build)], standalone_mode=False))
    for read in readers:
        with pytest.raises(StriveError, match=name.replace(".", r"\.")) as told:
            read()
        assert "\n" not in str(told.value)
    assert any(problem.file == name for problem in verify_build(build, workers=1).problems)
    shutil.rmtree(build)
