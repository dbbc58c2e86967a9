"""The commands as they are typed, in processes of their own but for what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import typer

from strive_data.cli import app
from tests.strive_data.made.typed import code_of

BUILD = "build {world}/questions.jsonl --data-root {world} --out {out}"
SMALL = ["--scorer", "demo", "--candidates", "16", "--frames", "4", "--set", "decode.max_pixels=784"]


def strive_data(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "strive-data"
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """World and build of two videos, made by the commands."""
    folder = tmp_path_factory.mktemp("cli")
    assert strive_data("synth", "--out", folder / "world", "--videos", 2, "--questions", 2).returncode == 0
    questions = folder / "world" / "questions.jsonl"
    done = strive_data("build", questions, "--data-root", questions.parent, "--out", folder / "out", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "4 samples of 2 videos in 1 shard, 0 failures" in done.stdout
    return folder


def test_build_inspect_and_report(folder: Path) -> None:
    assert pl.read_parquet(folder / "out" / "samples.parquet").height == 4
    assert "4 samples, 2 videos" in strive_data("inspect", folder / "out").stdout
    assert "candidate" in strive_data("inspect", folder / "out", "--sample", "0").stdout
    assert strive_data("report", folder / "out", "--limit", 2).returncode == 0
    assert (folder / "out" / "report.html").read_text().count("<section") == 2
    drawn = strive_data("report", folder / "out", "--where", "sample_id <> '0'", "--seed", 3, "--limit", 9)
    assert drawn.stdout.endswith("report-chosen.html: 3 samples\n")
    assert (folder / "out" / "report.html").read_text().count("<section") == 2
    assert strive_data("plot", folder / "out", "0", "--out", folder / "p.png").returncode == 0
    assert (folder / "p.png").read_bytes().startswith(b"\x89PNG")


def test_inspect_writes_the_rows_that_are_asked_for(folder: Path) -> None:
    out = folder / "rows.csv"
    where = ["--table", "frames", "--where", "candidate < 3", "--columns", "sample_id, variants"]
    done = strive_data("inspect", folder / "out", *where, "--out", out)
    assert done.stdout == f"{out}: 12 of 12 rows of frames; lists as JSON text: variants\n"
    rows = pl.read_csv(out)
    assert rows.columns == ["sample_id", "variants"]
    assert all(isinstance(json.loads(text), list) for text in rows["variants"])
    assert "0 of 0 rows of failures" in strive_data("inspect", folder / "out", "--failures").stdout


def test_export_prints_how_the_result_is_read(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = strive_data("export", folder / "out", "--to", "trl", "--out", out, "--variants", "0")
    assert done.stdout.splitlines()[0] == f"{out}: 4 rows of 4 samples, 16 frames"
    assert f'load_dataset("{out}", split="train")' in done.stdout
    assert pl.read_parquet(out / "data").height == 4


def test_every_option_is_explained_with_its_default() -> None:
    """Rich takes square brackets for markup, so a default that is written in them would not be seen."""
    commands = typer.main.get_group(app).commands
    options = [
        (f"{name} {option.name}", option)
        for name, command in commands.items()
        for option in command.params
        if isinstance(option, typer.core.TyperOption)
    ]
    assert len(options) > 30
    for name, option in options:
        text = option.help or ""
        assert text.endswith("."), name
        assert "[default" not in text, name
        said = option.required or option.is_flag or option.show_default or "repeatable" in text
        assert said or "default" in text, name
        assert option.default is not None or not option.show_default or option.required, name


def test_decoding_workers_of_the_command_import_no_torch() -> None:
    """They import the main module of their parent, which is the command line."""
    code = "import strive_data.cli, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("build none.jsonl --data-root . --out {out}", "none.jsonl"),
        (
            "build {world}/qestions.jsonl --data-root . --out {out}",
            "world/qestions.jsonl, did you mean {world}/questions.jsonl?",
        ),
        ("inspect {world}s", "did you mean {world}?"),
        ("build {empty} --data-root . --out {out}", "empty"),
        ("build {world}/questions.jsonl --data-root none --out {out}", "--data-root folder: none"),
        ("build {world}/questions.jsonl --data-root {world} --out {world}", "--out"),
        (f"{BUILD} --frames 7", "even number"),
        (f"{BUILD} --candidates 16", "sampler.frames: got 32, expected at most decode.candidates, 16"),
        (f"{BUILD} --scorer clap", "did you mean 'clip'"),
        (f"{BUILD} --recipe plan", "did you mean 'plain'"),
        ("build {world}/questions.jsonl --data-root {world} --out memory://b/out", "memory://"),
        ("synth --out s3://b/out", "s3://b/out: this option takes a local path"),
        ("inspect none", "no such folder"),
        ("inspect {world}", "has no run.json"),
        ("report {world}", "has no run.json"),
        ("inspect {build} --sample x", "unknown sample 'x'"),
        ("inspect {build} --where frames>", "pars"),
        ("inspect {build} --failures --table index", "leave one out"),
        ("report {build} --sample 0 --seed 1", "leave out --where and --seed"),
        ("plot {build} 0 --out p.jpg", "ends in .png"),
        ("export {build} --to tlr --out {out}", "did you mean 'trl'"),
        ("export {build} --to trl --out {world}", "is not an empty folder"),
        ("export {build} --to verl --out {out} --variants a", "got 'a', expected all"),
        ("overlap {build} {build} --by demo", "give --threshold"),
        ("overlap {build} {build} --out x.txt", "ends in .csv"),
        ("judge {build} --out x.txt", "ends in .csv or .parquet"),
        ("judge {build} --sampler unifrom", "did you mean 'uniform'"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str, says: str
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    places = {"world": folder / "world", "build": folder / "out"}
    places |= {"out": tmp_path / "out", "empty": tmp_path / "empty.jsonl"}
    assert code_of("strive_data", *(each.format(**places) for each in command.split())) == 2
    said = capfd.readouterr().err
    assert says.format(**places) in said
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1


def ten_tables(folder: Path, video: str, root: Path) -> list[Path]:
    """The habits of ten people, a table of one row each."""
    texts: dict[str, str | bytes] = {
        "pandas.csv": f",video,question,answer\n0,{video},How many?,3\n",
        "names.csv": f"Video_Path,Prompt,Label\n{video},Who?,red\n",
        "semicolons.csv": f"video;question;answer\n{video};Who, when?;red\n",
        "tabs.tsv": f"video\tquestion\tanswer\n{video}\tWho?\tred\n",
        "utf16.csv": f"video,question,answer\n{video},Qué?,rojo\n".encode("utf-16"),
        "absolute.csv": f"video,question,answer\n{root.absolute() / video},Who?,red\n",
    }
    rows: dict[str, dict[str, object]] = {
        "easyr1.jsonl": {"problem": "<video>Which?", "answer": "A", "videos": [video], "images": []}
        | {"options": ["A. red", "B. blue"], "problem_type": "multiple choice"},
        "messages.jsonl": {"videos": [video], "messages": [{"role": "user", "content": "<video>Who?"}]}
        | {"solution": "<answer>a man</answer>"},
        "conversations.jsonl": {"video": video}
        | {"conversations": [{"from": "human", "value": "<image>\nWho?"}, {"from": "gpt", "value": "a man"}]},
    }
    verl = {
        "prompt": [{"role": "user", "content": "<video>How many?"}],
        "videos": [{"video": video, "fps": 1}],
    }
    verl |= {
        "reward_model": {"style": "rule", "ground_truth": "3"},
        "data_source": "x",
        "extra_info": {"index": 0},
    }
    for name, text in texts.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    for name, row in rows.items():
        (folder / name).write_text(json.dumps(row) + "\n")
    pl.DataFrame([verl]).write_parquet(folder / "verl.parquet")
    return [folder / name for name in (*texts, *rows, "verl.parquet")]


def test_ten_ordinary_tables_build_as_they_are(folder: Path, tmp_path: Path) -> None:
    video = pl.read_parquet(folder / "out" / "samples.parquet")["video"][0]
    tables = ten_tables(tmp_path, video, folder / "world")
    out = tmp_path / "out"
    done = strive_data("build", *tables, "--data-root", folder / "world", "--out", out, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "10 samples of 1 video in 1 shard, 0 failures" in done.stdout
    samples = pl.read_parquet(out / "samples.parquet")
    assert samples["video"].unique().to_list() == [video]
    assert samples["problem_type"].value_counts(sort=True).rows() == [
        ("free-form", 7),
        ("numerical", 2),
        ("multiple choice", 1),
    ]
    lines = [line for line in done.stdout.splitlines() if ": recipe " in line]
    assert len(lines) == 10
    for name, says in (
        ("pandas.csv", "recipe plain; 1 numerical; column 1 has no name"),
        ("names.csv", "recipe plain; 1 free-form; columns video=Video_Path, question=Prompt, answer=Label"),
        ("easyr1.jsonl", "recipe easyr1; 1 multiple choice"),
        ("verl.parquet", "recipe verl; 1 numerical"),
    ):
        assert f"{tmp_path / name}: {says}" in done.stdout


def test_a_table_of_ones_own_builds_without_a_recipe(folder: Path, tmp_path: Path) -> None:
    video = pl.read_parquet(folder / "out" / "samples.parquet")["video"][0]
    table = tmp_path / "mine.csv"
    pl.DataFrame({"video": [video], "question": ["Which?"], "answer": ["red"], "mood": ["x"]}).write_csv(
        table
    )
    done = strive_data("build", table, "--data-root", folder / "world", "--out", tmp_path / "out", *SMALL)
    assert done.returncode == 0, done.stderr
    assert f"{table}: recipe plain; 1 free-form; not read: mood" in done.stdout
    sample = pl.read_parquet(tmp_path / "out" / "samples.parquet").row(0, named=True)
    assert (sample["sample_id"], sample["problem_type"]) == ("mine-0", "free-form")
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["recipes"] == {table.as_posix(): "plain"}


def test_a_cache_is_filled_and_changes_no_byte(folder: Path, tmp_path: Path) -> None:
    """test_pipeline.py has the second build, which is served from it."""
    questions = folder / "world" / "questions.jsonl"
    paths = ["--data-root", questions.parent, "--out", tmp_path / "out", "--cache", tmp_path / "cache"]
    done = strive_data("build", questions, *paths, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "0 of 2 videos came from the cache" in done.stdout
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 2
    shard = "shard-000000.tar"
    assert (tmp_path / "out" / shard).read_bytes() == (folder / "out" / shard).read_bytes()


def test_overlap_names_the_videos_that_two_builds_share(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "overlap.csv"
    done = strive_data("overlap", folder / "out", folder / "out", "--hits", 2, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "2 videos of EVAL found in TRAIN too, with 4 samples in EVAL" in done.stdout
    same = pl.read_csv(out).filter("same_packets")
    assert same["train_video"].to_list() == same["eval_video"].to_list()
    assert same.height == 2


def test_the_resolved_settings_are_saved(folder: Path) -> None:
    settings = json.loads((folder / "out" / "run.json").read_text())["settings"]
    assert (settings["decode"]["candidates"], settings["decode"]["max_pixels"]) == (16, 784)


def test_judge_compares_samplers_on_the_builds_own_evidence(folder: Path) -> None:
    out = folder / "judged.csv"
    done = strive_data(
        "judge", folder / "out", "--sampler", "topk", "--sampler", "comb:alpha=0.6", "--out", out
    )
    assert done.returncode == 0, done.stderr
    assert "4 questions; 0 without known evidence left out" in done.stdout
    table = pl.read_csv(out)
    assert table["sampler"].to_list() == ["stored", "topk", "comb:alpha=0.6", "topk", "comb:alpha=0.6"]
    assert table["noise"].to_list() == [0, 0, 0, 1, 1]
    assert set(table["frames"]) == {4}
    assert table["hit_rate"].is_between(0, 1).all()


def test_the_package_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "strive_data", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "Usage: " in done.stdout
    assert "build" in done.stdout
    assert done.stderr == ""
