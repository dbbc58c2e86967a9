"""The script that one would write without this package: decord and open_clip, one question after the other.

For each row: decode the candidates, embed them and the question, take frames by score, write JPEGs and arrays
with webdataset. Nothing is shared between questions of a video, runs beside anything else, or survives a bad
video. It is written to be fair: frames in one call, one forward for all frames of a video, inference mode,
torch with all cores, JPEGs of the same number and about the same size as a build stores.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import decord
import numpy as np
import open_clip
import torch
import typer
import webdataset
from PIL import Image


def main(
    annotation: Path,
    out: Path,
    model: str = "ViT-B-32",
    pretrained: str = "openai",
    precision: str = "fp32",
    candidates: int = 128,
    frames: int = 32,
    max_pixels: int = 128 * 28 * 28,
) -> None:
    clip, _, preprocess = open_clip.create_model_and_transforms(
        model, pretrained=pretrained, precision=precision
    )
    clip.eval()
    dtype = open_clip.get_input_dtype(precision) or torch.float32
    tokenizer = open_clip.get_tokenizer(model)
    rng = np.random.default_rng(0)
    rows = [json.loads(line) for line in annotation.read_text().splitlines()]
    with webdataset.TarWriter(str(out)) as tar:
        for row in rows:
            reader = decord.VideoReader(str(annotation.parent / row["path"]))
            places = np.linspace(0, len(reader) - 1, candidates).round().astype(int)
            pictures = reader.get_batch(places).asnumpy()
            images = torch.stack([preprocess(Image.fromarray(each)) for each in pictures])
            text = " ".join([row["problem"], *row.get("options", [])])
            with torch.inference_mode():
                frames_ND = clip.encode_image(images.to(dtype)).float()
                query_D = clip.encode_text(tokenizer([text])).float()[0]
            scores = torch.cosine_similarity(frames_ND, query_D[None]).numpy()
            chosen = _two_variants(scores, frames, rng)
            sample = {"__key__": str(row["problem_id"]), "json": row, "scores.npy": scores}
            for slot, place in enumerate(chosen):
                sample[f"f{slot:04d}.jpg"] = _jpeg(pictures[place], max_pixels)
            tar.write(sample)


def _two_variants(scores: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Frames of two variants drawn by score (Gumbel top-K) and of a uniform one."""
    uniform = np.linspace(0, len(scores) - 1, min(frames, len(scores))).round().astype(int)
    z = (scores - scores.mean()) / (scores.std() + 1e-6)
    drawn = [np.argsort(z + rng.gumbel(size=len(z)))[-frames:] for _ in range(2)]
    return np.unique(np.concatenate([uniform, *drawn]))


def _jpeg(frame: np.ndarray, max_pixels: int) -> bytes:
    image = Image.fromarray(frame)
    shrink = min(1.0, (max_pixels / (image.width * image.height)) ** 0.5)
    image = image.resize(
        (round(image.width * shrink), round(image.height * shrink)), Image.Resampling.BICUBIC
    )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, subsampling=0)
    return buffer.getvalue()


if __name__ == "__main__":
    typer.run(main)
