"""Make the picture of the README: `python -m tools.pictures.timeline`.

A rendered video is built, and the time line of one of its questions drawn, by the commands that it prints.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from tools.demo import run

PICTURE = Path(__file__).with_name("timeline.png")
BUILD = "--scorer demo --candidates 32 --frames 8"
SAMPLE = 3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        world, shards = f"{folder}/world", f"{folder}/shards"
        run(f"strive-data synth --out {world} --videos 1 --seed 7")
        run(f"strive-data build {world}/questions.jsonl --data-root {world} --out {shards} {BUILD}")
        run(f"strive-data plot {shards} {SAMPLE} --out {PICTURE}")
    with Image.open(PICTURE) as picture:
        small = picture.convert("RGB").resize(
            (picture.width * 3 // 5, picture.height * 3 // 5), Image.Resampling.LANCZOS
        )
    small.quantize(256, dither=Image.Dither.NONE).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
