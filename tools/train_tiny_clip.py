"""Make the tiny CLIP of the demonstration: strive_data/score/demo_clip.

    python -m tools.train_tiny_clip                 # some four minutes on one core

A frame and a question match where the needle that the question names is on the frame; each (frame, question)
pair of a batch is a yes or no, as in SigLIP.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import open_clip
import torch
import typer
from safetensors.torch import save_file
from torch.nn import functional

from strive_data.demo.world import COLOURS, SHAPES, TEMPLATES
from tools.tiny.folders import INSTRUCTIONS, PREPROCESS, question_texts, write_config, write_tokenizer
from tools.tiny.pool import make_pool, needle_labels

FOLDER = Path(__file__).parents[1] / "strive_data" / "score" / "demo_clip"
NAMES = (*COLOURS, *SHAPES)
TEXTS_PER_NAME = 2


def random_query(name: str, rng: np.random.Generator) -> str:
    """A question about the needle that is `name`, with or without options, as score.query may have it."""
    asks, answers = ("shape", SHAPES) if name in COLOURS else ("colour", COLOURS)
    template = TEMPLATES[asks][rng.integers(len(TEMPLATES[asks]))]
    text = template.format(colour=name, shape=name)
    if rng.random() < 0.3:
        return text
    options = rng.permutation(answers)[:4]
    return " ".join([text, *(f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True))])


def augment(frames_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift by up to 2 pixels, change brightness, add noise."""
    shift = torch.randint(-2, 3, (2,), generator=generator).tolist()
    count = len(frames_BCHW)
    moved = torch.roll(frames_BCHW, shift, dims=(2, 3))
    gain = 1 + 0.1 * torch.randn(count, 1, 1, 1, generator=generator)
    return moved * gain + 0.03 * torch.randn(moved.shape, generator=generator)


def main(
    folder: Path = FOLDER,
    videos: int = 600,
    steps: int = 700,
    batch: int = 192,
    lr: float = 2e-3,
    seed: int = 0,
) -> None:
    """Write FOLDER: tokenizer, config and weights."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder, [*question_texts(), INSTRUCTIONS])
    write_config(folder)
    torch.manual_seed(seed)
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    started = time.monotonic()
    pool = make_pool(videos=videos, seed=900_000 + seed)
    frames_B = torch.from_numpy(np.concatenate([video.frames for video in pool])).permute(0, 3, 1, 2)
    labels_BN = torch.from_numpy(np.concatenate([needle_labels(video, NAMES) for video in pool]))
    has_needle = labels_BN.any(dim=1)
    weights_B = torch.where(has_needle, 0.7 / has_needle.sum(), 0.3 / (~has_needle).sum())
    print(f"{len(frames_B)} frames, {has_needle.float().mean():.2f} with a needle", flush=True)
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}", load_weights=False)
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.02, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    model.train()
    mean, std = (torch.tensor(PREPROCESS[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    for step in range(steps):
        rows = torch.multinomial(weights_B, batch, replacement=True, generator=generator)
        images = (augment(frames_B[rows].float() / 255, generator) - mean) / std
        names = [name for name in NAMES for _ in range(TEXTS_PER_NAME)]
        texts = tokenize([random_query(name, rng) for name in names])
        image_BD, text_TD, scale, bias = model(images, texts)
        logits_BT = scale * image_BD @ text_TD.T + bias
        wanted_BT = labels_BN[rows].repeat_interleave(TEXTS_PER_NAME, dim=1)
        loss = functional.binary_cross_entropy_with_logits(logits_BT, wanted_BT) * 10
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            right = logits_BT[wanted_BT > 0.5].gt(0).float().mean()
            print(
                f"step {step} loss {loss:.3f} positives found {right:.3f} scale {scale:.1f} "
                f"{time.monotonic() - started:.0f} s",
                flush=True,
            )
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")


if __name__ == "__main__":
    typer.run(main)
