"""Make the tiny vision-language model of the demonstration: strive_rl/study/demo_models.

    python -m tools.train_tiny_vlm init         # tokenizer, processor and random weights
    python -m tools.train_tiny_vlm vision       # teach the vision tower to tell needles apart
    python -m tools.train_tiny_vlm letters      # imitate answers: the letter that follows from a thought
    python -m tools.train_tiny_vlm reading      # and the thought that follows from the frames, to a share
    python -m tools.train_tiny_vlm all          # some six minutes on a free core
    python -m tools.train_tiny_vlm hard --folder strive_rl/study/demo_models/demo-hard  # a minute, from demo

Prompts are encoded by strive_rl itself, so the model is trained on the positions that it is used with.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import typer

from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, load_policy
from strive_rl.policy.encode import ANSWER_FORM, THINK
from tools.tiny.examples import Example, answer_text, make_examples
from tools.tiny.folders import (
    INSTRUCTIONS,
    make_config,
    make_model,
    make_processor,
    question_texts,
    train_tokenizer,
)
from tools.tiny.hard import compose_hard, make_frame_bank
from tools.tiny.hard import held_out as hard_held_out
from tools.tiny.pool import make_pairs, make_pool
from tools.tiny.warm_start import HARD, LETTERS, READING, Phase, composed, frozen, warm_start, warm_up_vision

FOLDER = Path(__file__).parents[1] / "strive_rl/study/demo_models/demo"
FramePairs = Literal["consecutive", "doubled"]
Stage = Literal["init", "vision", "letters", "reading", "all", "hard"]
TRAIN_SEED, HELD_OUT_SEED = 910_000, 920_000
HARD_SEED, HARD_HELD_OUT_SEED = 930_000, 940_000


def init(folder: Path, *, seed: int) -> None:
    """Write a complete folder with untrained weights."""
    asked = [one for video in make_pool(videos=30, seed=TRAIN_SEED) for one in video.plan.asked]
    answers = [answer_text(one, option) for one in asked for option in one.options]
    tokenizer = train_tokenizer([*question_texts(), INSTRUCTIONS, THINK, *ANSWER_FORM.values(), *answers])
    make_processor(tokenizer).save_pretrained(folder)
    model = make_model(make_config(tokenizer), seed=seed)
    model.save_pretrained(folder)
    print(f"{folder}: {sum(weight.numel() for weight in model.parameters()):,} parameters")
    print(f"{len(tokenizer)} tokens in the vocabulary")


def vision(folder: Path, *, pairs: int, epochs: int, seed: int) -> None:
    """Warm the vision tower up."""
    policy = _policy(folder)
    train, held_out = make_pairs(count=pairs, seed=TRAIN_SEED), make_pairs(count=800, seed=HELD_OUT_SEED)
    warm_up_vision(policy, train, held_out, epochs=epochs, batch=128, lr=2e-3, seed=seed)
    policy.model.save_pretrained(folder)


def warm(folder: Path, phase: Phase, *, videos: int, until: float, seed: int) -> None:
    """One phase of the language model's warm start."""
    policy = _policy(folder)
    pool, others = make_pool(videos=videos, seed=TRAIN_SEED), make_pool(videos=64, seed=HELD_OUT_SEED)
    examples = frozen(policy, make_examples(policy, pool, samplers=("comb",), seed=0))
    held_out = frozen(policy, make_examples(policy, others, samplers=("comb",), seed=0))
    print(f"{len(examples)} examples, prompts of {len(examples[0].prompt.ids)} tokens", flush=True)
    batches = composed(policy, examples)
    warm_start(policy, batches, held_out, phases=(phase,), until=until, every=50, seed=seed)
    policy.model.save_pretrained(folder)


def hard(folder: Path, *, seed: int) -> None:
    """A warm start for the hard level, on from the model of the easy one; other seeds give other models."""
    policy = _policy(FOLDER, frame_pairs="doubled")
    bank = make_frame_bank(policy, videos=160, seed=HARD_SEED + seed)
    held_out = hard_held_out(policy, videos=30, seed=HARD_HELD_OUT_SEED, scorer="demo")

    def batches(rng: np.random.Generator, phase: Phase) -> list[Example]:
        return [compose_hard(policy, bank, rng) for _ in range(phase.batch)]

    warm_start(policy, batches, held_out, phases=(HARD,), until=1.0, every=50, seed=seed)
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    policy.model.save_pretrained(folder)


def main(
    stage: Stage,
    folder: Path = FOLDER,
    videos: int = 300,
    pairs: int = 20_000,
    epochs: int = 8,
    until: float = 0.72,
    seed: int = 0,
) -> None:
    """Run one stage, or "all" of the easy level's."""
    torch.set_num_threads(1)
    if stage in ("init", "all"):
        init(folder, seed=seed)
    if stage in ("vision", "all"):
        vision(folder, pairs=pairs, epochs=epochs, seed=seed)
    if stage in ("letters", "all"):
        warm(folder, LETTERS, videos=videos, until=until, seed=seed)
    if stage in ("reading", "all"):
        warm(folder, READING, videos=videos, until=until, seed=seed + 1)
    if stage == "hard":
        hard(folder, seed=seed)


def _policy(folder: Path, frame_pairs: FramePairs = "consecutive") -> Policy:
    settings = PolicySettings(device="cpu", dtype="float32", prompts_per_pass=128, frame_pairs=frame_pairs)
    return load_policy(str(folder), settings)


if __name__ == "__main__":
    typer.run(main)
