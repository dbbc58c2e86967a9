"""What both commands refuse by arguments and by the places that they name, without importing what is slow."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from strive_data.config import DEMO_KINDS, DEMO_LEVELS, EXPORT_LAYOUTS, SAMPLER_NAMES, SCORER_NAMES
from strive_data.demo.world import LEVELS, Kind
from strive_data.export.layouts import LAYOUTS
from strive_data.inspect.commands import TABLES
from strive_data.inspect.tables import FILES
from strive_data.sampling.samplers import SAMPLERS
from strive_data.score.registry import SCORERS
from strive_rl.benchmarks.formats import FORMATS
from strive_rl.benchmarks.rules import BENCHMARKS
from strive_rl.common.options import BENCHMARK_NAMES, PREDICTION_FORMATS
from tests.conftest import typed_without

SLOW = ["numpy", "polars", "av", "PIL", "torch", "transformers", "ray", "open_clip", "matplotlib"]
BUILD = "build {questions} --data-root {empty} --out {out}"
TRAIN = "train --shards {build} --model demo --out {out}"
EVAL = "eval --shards {build} --model demo --out {out}"
BENCHMARK = "eval --benchmark videomme --data-root {empty} --model demo --out {out}"
PROBE = "probe --shards {build} --model demo --out {out}"
SCORE = "score {file} --benchmark videomme --out {out}"
STUDY = "study demo --shards {build} --heldout {build} --model demo --out {out}"
NAMES = ["build", "inspect", "report", "plot", "judge", "overlap"]
OTHERS = ["verify", "merge", "export", "synth", "init", "recipes"]
HELP = [("--help", "Commands"), ("-h", "Commands"), ("--version", "."), ("nothing", "nothing")]
# Command lines, and what the refusal (or the help) says.
LINES = {
    "strive_data": [
        *HELP,
        *((f"{name} --nosuch", "--nosuch") for name in NAMES),
        *((f"{name} --help", "Usage") for name in OTHERS),
        (f"{BUILD} --workers x", "--workers"),
        (f"{BUILD} --set decode.nosuch=1", "decode.nosuch"),
        (f"{BUILD} --set sampler.name=combe", "did you mean 'comb'"),
        (f"{BUILD} --scorer nosuch", "unknown scorer 'nosuch'"),
        (f"{BUILD} --config nosuch", "nosuch"),
        (f"{BUILD} --recipe nosuch", "unknown recipe 'nosuch'"),
        (f"{BUILD} --columns x", "--columns x"),
        (f"{BUILD} --cache {{file}}", "{file}: it is a file"),
        ("build {questions} --data-root {empty}/no --out {out}", "{empty}/no"),
        ("build {empty}/no.json --data-root {empty} --out {out}", "{empty}/no.json"),
        ("build {questions} --data-root {empty} --out {file}/u", "a file is in its path, {file}"),
        ("inspect {empty}", "no run.json"),
        ("inspect {file}", "is a file, expected a folder"),
        ("inspect {build} --table sample", "did you mean 'samples'"),
        ("inspect {build} --out x.txt", ".csv or .parquet"),
        ("report {empty}", "no run.json"),
        ("report {build} --out {file}/u.html", "a file is in its path"),
        ("plot {empty} a --out x.png", "no run.json"),
        ("plot {build} a --out x.txt", ".png"),
        ("judge {build} --sampler nosuch:alpha=1", "unknown sampler 'nosuch'"),
        ("overlap {empty} {build}", "{empty} has no run.json"),
        ("overlap {build} {build} --by nosuch", "unknown scorer 'nosuch'"),
        ("overlap {build} {build} --set score.nosuch=1", "score.nosuch"),
        ("verify {empty}", "holds no build"),
        ("verify {file}", "is a file, expected a folder"),
        ("merge {build} --out {out}", "two or more"),
        ("merge {build} {build} --out {out}", "named twice"),
        ("merge {build} {empty} --out {out}", "{empty} has no run.json"),
        ("export {empty} --to trl --out {out}", "no run.json"),
        ("export {build} --to nosuch --out {out}", "unknown layout 'nosuch'"),
        ("export {build} --to trl --variants x --out {out}", "--variants: got 'x'"),
        ("export {build} --to trl --out {file}/u", "a file is in its path"),
        ("synth --out {file}", "{file}: it is a file"),
        ("synth --out {file}/u", "a file is in its path"),
        ("synth --level nosuch --out {out}", "unknown --level 'nosuch'"),
        ("synth --level hard --kind nosuch --out {out}", "unknown --kind 'nosuch'"),
        ("init {empty} --out x.txt", ".csv"),
        ("init {empty} --out {out}.csv", "{empty}: no video"),
    ],
    "strive_rl": [
        *HELP,
        *((f"{name} --nosuch", "--nosuch") for name in ["train", "export", "verify", "probe", "eval"]),
        *((f"{name} --help", "Usage") for name in ["score", "compare", "plot", "show", "study"]),
        (TRAIN.replace("{build}", "{empty}/no"), "no such folder: {empty}/no"),
        (TRAIN.replace("{build}", "{empty}"), "{empty} has no run.json"),
        (f"{TRAIN} --dry-run --shards {{empty}}", "{empty} has no run.json"),
        (f"{TRAIN} --heldout {{empty}}", "{empty} has no run.json"),
        (TRAIN.replace("demo", "{empty}"), "not a model folder"),
        (TRAIN.replace("{out}", "{file}/u"), "a file is in its path"),
        (TRAIN.replace("{out}", "{file}"), "is a file"),
        ("train --help", "--resume-from"),
        (f"{TRAIN} --steps x", "--steps"),
        (f"{TRAIN} --set optim.lrr=1", "did you mean 'lr'"),
        (f"{TRAIN} --config nosuch", "nosuch"),
        (f"{TRAIN} --set data.sampler=combe", "did you mean 'comb'"),
        (EVAL.replace("{build}", "{empty}"), "{empty} has no run.json"),
        (f"{EVAL} --sampler combe", "did you mean 'comb'"),
        (f"{EVAL} --baseline {{empty}}", "no results.json"),
        (BENCHMARK.replace("videomme", "videomm"), "did you mean 'videomme'"),
        (BENCHMARK.replace("{empty}", "{empty}/no"), "{empty}/no: no such folder"),
        (f"{BENCHMARK} --annotations {{empty}}/no", "{empty}/no: no such file"),
        (f"{BENCHMARK} --sampler combe", "did you mean 'comb'"),
        (f"{BENCHMARK} --scorer nosuch", "unknown scorer 'nosuch'"),
        (f"{BENCHMARK} --recipe nosuch", "unknown recipe 'nosuch'"),
        (PROBE.replace("{build}", "{empty}"), "{empty} has no run.json"),
        (SCORE.replace("{file}", "{empty}/no"), "{empty}/no: no such file"),
        (SCORE.replace("videomme", "nosuch"), "unknown benchmark 'nosuch'"),
        (SCORE.replace("{out}", "{file}/u"), "a file is in its path"),
        (f"{SCORE} --format nosuch", "unknown format 'nosuch'"),
        (f"{SCORE} --judgements {{empty}}/no", "{empty}/no: no such file"),
        (f"{SCORE} --set nosuch=1", "'nosuch'"),
        ("compare {empty} {file}", "no results.json"),
        ("export {empty} --out {out}", "no model in it"),
        ("verify {empty}", "no manifest.json"),
        ("show {empty}", "rollouts.jsonl"),
        ("plot {empty} --out x.txt", ".png or .html"),
        (STUDY.replace("demo --shards", "nosuch --shards"), "nosuch"),
        (STUDY.replace("--heldout {build}", "--heldout {empty}"), "{empty} has no run.json"),
        (STUDY.replace("--model demo", "--model {empty}"), "not a model folder"),
    ],
}


@pytest.mark.parametrize("package", LINES)
def test_refusals_import_nothing_slow(package: str, tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("empty", "build", "out", "file", "questions")}
    places["empty"].mkdir()
    places["build"].mkdir()
    (places["build"] / "run.json").write_text('{"schema_version": 1, "settings": {}}')
    places["file"].touch()
    places["questions"].write_text("{}")
    commands = [[part.format(**places) for part in line.split()] for line, _ in LINES[package]]
    results = typed_without(SLOW, package, commands, tmp_path)
    for command, (_, text), (code, shown) in zip(commands, LINES[package], results, strict=True):
        helped = command[-1] in ("--help", "-h", "--version")
        assert (code, text.format(**places) in shown) == (0 if helped else 2, True), (command, shown)
    assert not places["out"].exists()


def test_names_that_arguments_are_checked_against_are_those_of_the_code() -> None:
    """They stand apart, so that a check imports nothing slow."""
    assert set(SAMPLER_NAMES) == SAMPLERS.keys()
    assert set(SCORER_NAMES) == SCORERS.keys()
    assert set(EXPORT_LAYOUTS) == LAYOUTS.keys()
    assert set(DEMO_LEVELS) == LEVELS.keys()
    assert get_args(Kind) == DEMO_KINDS
    assert set(TABLES) == FILES.keys()
    assert set(BENCHMARK_NAMES) == BENCHMARKS.keys()
    assert set(PREDICTION_FORMATS) == FORMATS.keys()
