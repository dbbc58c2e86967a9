"""Make the pictures of the documentation: `python -m tools.pictures gains` or `timeline`.

`gains` is the forest plot of the studies: each line is a mean difference of paired seeds with its 95 %
interval, from the tables in manifests/studies. For `timeline` a rendered video is built, and the time line of
one of its questions drawn, by the commands that it prints.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import typer
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from strive_rl.inspect.curves import GRID, INK, PALETTE, STYLE
from strive_rl.study.results import Gain, gain_of
from tools.demo import run

HERE = Path(__file__).parent
STUDIES = Path(__file__).parents[2] / "manifests" / "studies"
NOISY = "2026-11-29-hard-demo-noisy"
CLEAN = "2026-11-30-hard-demo-controls"
# Several tables of one study, with other seeds or arms.
NOISY_ARMS = f"{NOISY}+{NOISY}-arms+2026-11-30-hard-demo-noisy-arms"
DEMO = "2026-11-29-demo+2026-11-30-demo"
GRPO, UNIFORM, VIEWS, STRIVE = "grpo-importance", "grpo-uniform", "per-variant", "strive"
MORE, LONGER = "strive-4x2", "grpo-long"
# (arm, the arm that it is compared with, the title of their lines, the study of each line)
COMPARED = (
    (
        *(GRPO, UNIFORM, "frames: GRPO on importance-aware over uniform"),
        {"hard, noisy scorer": NOISY_ARMS, "hard, clean scorer": CLEAN, "demo": DEMO},
    ),
    (
        *(VIEWS, GRPO, "two views: 2×4 per variant over GRPO 1×8"),
        {
            "hard, noisy scorer": f"{NOISY}-per-variant",
            "hard, clean scorer": "2026-11-29-hard-demo",
            "demo": DEMO,
        },
    ),
    (
        *(STRIVE, GRPO, "views and joint grid: STRIVE 2×4 over GRPO 1×8"),
        {
            "hard, noisy scorer": NOISY,
            "the same, two other warm starts": f"{NOISY}-warm-starts",
            "hard, clean scorer": CLEAN,
            "demo": DEMO,
        },
    ),
    (
        *(MORE, STRIVE, "more views: 4×2 over STRIVE 2×4"),
        {"hard, noisy scorer": NOISY_ARMS, "hard, clean scorer": CLEAN},
    ),
    (
        *(STRIVE, LONGER, "equal time: STRIVE over GRPO 1×8 of more steps"),
        {
            "hard, noisy scorer": f"{NOISY}-equal-time",
            "hard, clean scorer": f"{CLEAN}+2026-11-30-hard-demo-equal-time",
            "demo": f"{DEMO}+2026-11-30-demo-equal-time",
        },
    ),
)


def gains() -> None:
    rows: list[tuple[str, Gain | None, str]] = []
    for place, (arm, baseline, title, studies) in enumerate(COMPARED):
        rows.append((title, None, INK))
        rows += [(name, paired_gain(study, arm, baseline), PALETTE[place]) for name, study in studies.items()]
    with rc_context(STYLE):
        figure = Figure(figsize=(7.6, 0.34 * len(rows) + 0.9), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        for row, (_, gain, colour) in enumerate(rows):
            if gain:
                axes.plot(
                    [100 * (gain.low or 0), 100 * (gain.high or 0)], [row, row], color=colour, linewidth=2
                )
                axes.plot([100 * gain.mean], [row], marker="s", color=colour)
        axes.axvline(0, color=INK, linewidth=0.8)
        names = [f"{name}, {gain.count} seeds" if gain else name for name, gain, _ in rows]
        axes.set_yticks(range(len(rows)), names)
        for label, (_, gain, _) in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_weight("normal" if gain else "bold")
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="x", color=GRID)
        axes.set_xlabel("points, 95 % interval")
        figure.savefig(HERE / "gains.png", format="png", metadata={"Software": None})


def paired_gain(study: str, arm: str, baseline: str) -> Gain | None:
    """The mean difference of two arms over the seeds that both have, on importance-aware frames."""
    files = [STUDIES / f"{name}.json" for name in study.split("+")]
    tables = [json.loads(file.read_text(encoding="utf-8"))["runs"] for file in files]
    mine, theirs = (
        {seed: run for runs in tables for seed, run in runs.get(name, {}).items()} for name in (arm, baseline)
    )
    return gain_of([mine[seed]["importance"] - theirs[seed]["importance"] for seed in mine if seed in theirs])


def timeline() -> None:
    picture_file = HERE / "timeline.png"
    with tempfile.TemporaryDirectory() as folder:
        world, shards = f"{folder}/world", f"{folder}/shards"
        run(f"strive-data synth --out {world} --videos 1 --seed 7")
        build = "--scorer demo --candidates 32 --frames 8"
        run(f"strive-data build {world}/questions.jsonl --data-root {world} --out {shards} {build}")
        run(f"strive-data plot {shards} 3 --out {picture_file}")
    with Image.open(picture_file) as picture:
        size = (picture.width * 3 // 5, picture.height * 3 // 5)
        small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    small.quantize(256, dither=Image.Dither.NONE).save(picture_file, optimize=True)


if __name__ == "__main__":
    app = typer.Typer()
    app.command()(gains)
    app.command()(timeline)
    app()
