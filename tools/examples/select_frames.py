"""Frames of a video for a question, and the samples of a finished build, from Python.

    python -m tools.examples.select_frames select clip.mp4 "Which sign is on the roof?" --out frames
    python -m tools.examples.select_frames read demo/train.shards

`select` writes the frames of each variant as JPEGs named by their times. `read` prints what a build holds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import polars as pl

import strive_data


def select(given: argparse.Namespace) -> None:
    """Choose frames as a build would, print their times, write them as the build stores them."""
    chosen = strive_data.select_frames(
        given.video,
        given.question,
        frames=given.frames,
        variants=given.variants,
        scorer=given.scorer,
        candidates=given.candidates,
    )
    given.out.mkdir(parents=True, exist_ok=True)
    for variant, (times, images) in enumerate(zip(chosen.times, chosen.images, strict=True)):
        print(f"variant {variant}: {', '.join(f'{seconds:.2f}' for seconds in times)} s")
        for seconds, image in zip(times, images, strict=True):
            image.save(given.out / f"variant{variant}-{seconds:09.3f}s.jpg")


def read(given: argparse.Namespace) -> None:
    """A table of the build, and its first sample."""
    build = strive_data.open_build(given.build)
    kinds = build.table("samples").group_by("problem_type").agg(pl.len()).sort("problem_type").collect()
    print(f"{len(build)} samples: " + ", ".join(f"{count} {kind}" for kind, count in kinds.iter_rows()))
    first = build[0]
    print(f"{first.question.sample_id}: {first.question.question} → {first.question.answer}")
    print(f"frames of the first variant at {first.times[0].round(2).tolist()} s")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("select", help="choose the frames of one video")
    one.add_argument("video", help="file, folder of pictures with times, or URL")
    one.add_argument("question")
    one.add_argument("--out", type=Path, default=Path("frames"), help="folder for the frames")
    one.add_argument("--frames", type=int, default=32)
    one.add_argument("--variants", type=int, default=2)
    one.add_argument("--candidates", type=int, default=128, help="frames that are scored")
    one.add_argument("--scorer", default="clip", help="as strive-data build --scorer")
    one.set_defaults(command=select)
    many = commands.add_parser("read", help="print what a build holds")
    many.add_argument("build", help="folder or URL of a finished build")
    many.set_defaults(command=read)
    given = parser.parse_args(arguments)
    given.command(given)


if __name__ == "__main__":
    main()
