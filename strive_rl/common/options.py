"""Options that several commands of `strive-rl` share."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Annotated, Any

import typer

from strive_data.common.console import option, settings_option, written

BENCHMARKS = (
    "videomme, tempcompass, videommmu, mmvu, vsibench, perceptiontest, mvbench, longvideobench, mlvu, "
    "lvbench, video-holmes, next-gqa, next-gqa-grounded, charades-sta, activitynet-captions or own"
)
BENCHMARK_NAMES = BENCHMARKS.replace(" or ", ", ").split(", ")
PREDICTION_FORMATS = ["strive", "lmms-eval", "video-r1", "tempcompass", "videomme", "mmvu"]
PLOT_FORMATS = (".png", ".html")

Shards = Annotated[str, option(text="Folder or fsspec URL (s3://…, hf://…) of a finished build.")]
Model = Annotated[
    str, option(text="Qwen2.5-VL, Qwen3-VL or Qwen3.5: a hub name or a folder; demo: the packaged tiny one.")
]
RunFolder = Annotated[Path, typer.Argument(help="Folder of strive-rl train, finished or running.")]
Frames = Annotated[int | None, option(text="Frames K of a video that the model sees; default 32.")]
Samplers = Annotated[
    list[str] | None, option(text="Frame sampler, repeatable, one column each; default uniform.")
]
Scorer = Annotated[
    str | None, option(text="Frame scorer for all samplers but uniform, as in build; default clip.")
]
Prompt = Annotated[str | None, option(text="reason (default): think first; or direct: answer at once.")]
Temperature = Annotated[float | None, option(text="Of sampling; default 0, greedy.")]
MaxNewTokens = Annotated[int | None, option(text="Most tokens of a completion; default 768.")]
Completions = Annotated[
    int | None, option(text="Completions sampled of each view; their mean counts; default 1.")
]
Variants = Annotated[
    int | None, option(text="Interleaved variants V of each video, answered one by one; default 1.")
]
Vote = Annotated[bool, typer.Option("--vote", help="Count the one answer that the answers elect.")]
Controls = Annotated[
    list[str] | None,
    option(
        "--control",
        text="Column beside the vote, repeatable: single (one view), samples (V answers under one view) or "
        "frames (V·K frames in one view).",
    ),
]
Missing = Annotated[
    str | None, option(text="wrong (default) or exclude: what questions without an answer count as.")
]
Cache = Annotated[Path | None, written("Folder of decoded videos, shared with builds; default none.")]
Workers = Annotated[int, option(text="Decoding processes; default one for each core.", min=0)]
Recipe = Annotated[
    str | None, option(text="Recipe that reads the annotation; default chosen by its columns.")
]
Annotations = Annotated[
    list[Path] | None, option(text="The benchmark's annotation files, repeatable; default those found.")
]
Format = Annotated[
    str | None,
    option(
        "--format",
        text=f"{', '.join(PREDICTION_FORMATS[:-1])} or {PREDICTION_FORMATS[-1]}; default by content.",
    ),
]
Seed = Annotated[int | None, option(text="Seed of all random choices; default 0.")]


def settings_help(*classes: str) -> Any:
    """The option --help-settings of a command: its settings, as `settings_option`, by "module:class"; of a
    command that is used in two ways as "way=module:class". They are imported when they are wanted."""

    def load() -> Any:
        named = [each.rpartition("=") for each in classes]
        found = {way: pkgutil.resolve_name(name) for way, _, name in named}
        return found if len(found) > 1 else found[""]

    return settings_option(load)


TrainSettingsHelp = Annotated[str | None, settings_help("strive_rl.config:TrainSettings")]
EvalSettingsHelp = Annotated[
    str | None,
    settings_help(
        "--shards and --benchmark=strive_rl.eval.config:EvalSettings",
        "--benchmark alone, or with another default there=strive_rl.eval.config:BenchmarkSettings",
    ),
]
ProbeSettingsHelp = Annotated[str | None, settings_help("strive_rl.eval.config:ProbeSettings")]
ScoreSettingsHelp = Annotated[str | None, settings_help("strive_rl.eval.config:ScoreSettings")]
CompareSettingsHelp = Annotated[str | None, settings_help("strive_rl.eval.config:CompareSettings")]
