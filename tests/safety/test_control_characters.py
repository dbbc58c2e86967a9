"""A stranger's control characters never reach a terminal or a page: one hostile row through every command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from strive_data import cli as data_cli
from strive_data.common.text import CONTROLS
from strive_rl import cli as rl_cli
from strive_rl.common import jsonl
from tests.strive_data.made.builds import write_build
from tests.strive_data.made.samples import a_failure, a_question, a_sample

# Sets the clipboard, the title and a colour, in 7 and 8 bit; turns the direction; rings; erases a line.
EVIL = "\x1b]52;c;aGk=\x07\x1b]0;t\x07\x1b[31m\x9b31m\u202e\u2066\x08\r\x00"
TEXT = EVIL.rstrip("\x00")  # readers refuse NUL, and ids that are not printable


def hostile_build(folder: Path) -> Path:
    question = a_question(
        f"id{EVIL}", question=f"Q{EVIL}?", options=(f"A. {EVIL}", "B. y"), video=f"v{EVIL}.mp4", source=EVIL
    )
    sample = a_sample()
    meta = replace(sample.meta, question=question, scorer=f"s{EVIL}")
    object.__setattr__(meta, "info", replace(meta.info, decode_errors=2))
    failure = a_failure(f"f{EVIL}", video=f"w{EVIL}.mp4", message=EVIL)
    return write_build(folder, [replace(sample, meta=meta)], failures=[failure])


def hostile_run(folder: Path) -> Path:
    """A folder whose name is hostile too, with metrics, settings and sampled completions."""
    folder.mkdir()
    row = {
        "step": 1,
        "sample_id": f"q{EVIL}",
        "variant": 0,
        "place": 0,
        "times": [0.5],
        "view": f"whole{EVIL}",
    }
    row |= dict.fromkeys(("question", "prompt", "answer", "completion"), EVIL) | {
        "tokens": 1,
        "finished": True,
    }
    jsonl.append(folder / "rollouts.jsonl", [row | {"reward": 1.0, "accuracy": 1.0, "advantage": 0.0}])
    jsonl.append(folder / "metrics.jsonl", [{"step": step, "reward": 0.5} for step in (1, 2)])
    settings = {"settings": {"reward": f"{folder.name}{EVIL}"}, "model": EVIL, "shards": EVIL}
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


def hostile_predictions(folder: Path, output: str) -> Path:
    folder.mkdir()
    rows = [
        {"sample_id": str(i), "question": f"Q{TEXT}?", "problem_type": "multiple choice", "output": output}
        | {"options": [f"A. {TEXT}", "B. y"], "answer": "B", "video": f"v{i}{TEXT}.mp4", "source": TEXT}
        for i in range(3)
    ]
    jsonl.append(folder / "p.jsonl", rows)
    return folder / "p.jsonl"


@pytest.fixture
def clean(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., None]:
    """Run a command as typed; no control character may be in what it prints and in the pages it writes."""

    def check(main: Callable[[], object], *arguments: object, code: int = 0, quiet: bool = False) -> None:
        monkeypatch.setattr(sys, "argv", ["strive", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capfd.readouterr()
        assert (end.value.code or 0) == code, printed.err
        texts = {"printed": printed.out + printed.err}
        texts |= {str(page): page.read_text() for page in tmp_path.rglob("*.html")}
        for name, text in texts.items():
            assert not [hex(ord(letter)) for letter in text if ord(letter) in CONTROLS], (arguments[0], name)
        assert quiet or "\\x1b]52" in texts["printed"]

    return check


def test_no_command_of_strive_data_passes_control_characters_on(
    clean: Callable[..., None], tmp_path: Path
) -> None:
    build, other = hostile_build(tmp_path / "b"), hostile_build(tmp_path / "other")
    sample = f"id{EVIL}"
    clean(data_cli.main, "inspect", build)
    clean(data_cli.main, "inspect", build, "--sample", sample)
    for table in ("samples", "frames", "failures", "index"):
        clean(data_cli.main, "inspect", build, "--table", table)
    clean(data_cli.main, "inspect", build, "--where", f"question = '{EVIL}' AND", code=2)
    clean(data_cli.main, "inspect", build, "--sample", "none", code=2)
    clean(data_cli.main, "report", build, quiet=True)
    assert "\\x1b]52" in (build / "report.html").read_text()
    clean(data_cli.main, "plot", build, sample, "--out", tmp_path / "p.png", quiet=True)
    clean(data_cli.main, "overlap", build, other)
    clean(data_cli.main, "judge", build, "--sampler", "uniform", "--resamples", 5, quiet=True)
    clean(data_cli.main, "merge", build, other, "--out", tmp_path / "joined", code=2)
    shard = build / "shard-000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"Q", b"R"))
    clean(data_cli.main, "verify", build, "--workers", 1, code=1)
    clean(data_cli.main, "report", build, code=2)


def test_no_command_of_strive_rl_passes_control_characters_on(
    clean: Callable[..., None], tmp_path: Path
) -> None:
    run, other = hostile_run(tmp_path / "run\x1b]52;c\x07"), hostile_run(tmp_path / "other")
    clean(rl_cli.main, "show", run)
    clean(rl_cli.main, "show", run, "--question", "none", code=2)
    clean(rl_cli.main, "plot", run, other, "--out", tmp_path / "c.html", quiet=True)
    clean(rl_cli.main, "plot", run, "--out", tmp_path / "c.png", quiet=True)
    for name, output in (("a", f"A{EVIL}"), ("b", f"<answer>B</answer>{EVIL}")):
        file = hostile_predictions(tmp_path / name, output)
        clean(
            rl_cli.main, "score", file, "--benchmark", "own", "--out", tmp_path / f"{name}-scored", quiet=True
        )
    scored = (tmp_path / "a-scored", tmp_path / "b-scored")
    clean(rl_cli.main, "compare", *scored, "--out", tmp_path / "compared", quiet=True)
    pages = [page.read_text() for page in tmp_path.rglob("*.html")]
    assert len(pages) == 4
    assert all("\\x1b]52" in page for page in pages)
