"""Frames of a video for a question, and the samples of a finished build, from Python.

    python -m tools.examples.select_frames select clip.mp4 "Which sign is on the roof?" --out frames
    python -m tools.examples.select_frames read demo/train.shards

`select` writes the frames of each variant as JPEGs named by their times. `read` prints what a build holds.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import typer

import strive_data

app = typer.Typer(help=__doc__, add_completion=False)


@app.command()
def select(
    video: str,
    question: str,
    out: Path = Path("frames"),
    frames: int = 32,
    variants: int = 2,
    candidates: int = 128,
    scorer: str = "clip",
) -> None:
    """Choose frames as a build would, print their times, write them as the build stores them."""
    chosen = strive_data.select_frames(
        video, question, frames, variants, scorer=scorer, candidates=candidates
    )
    out.mkdir(parents=True, exist_ok=True)
    for variant, (times, images) in enumerate(zip(chosen.times, chosen.images, strict=True)):
        print(f"variant {variant}: {', '.join(f'{seconds:.2f}' for seconds in times)} s")
        for seconds, image in zip(times, images, strict=True):
            image.save(out / f"variant{variant}-{seconds:09.3f}s.jpg")


@app.command()
def read(build: str) -> None:
    """A table of the build, and its first sample."""
    opened = strive_data.open_build(build)
    kinds = opened.table("samples").group_by("problem_type").agg(pl.len()).sort("problem_type").collect()
    print(f"{len(opened)} samples: " + ", ".join(f"{count} {kind}" for kind, count in kinds.iter_rows()))
    first = opened[0]
    print(f"{first.question.sample_id}: {first.question.question} → {first.question.answer}")
    print(f"frames of the first variant at {first.times[0].round(2).tolist()} s")


if __name__ == "__main__":
    app()
