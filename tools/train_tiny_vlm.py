"""Make the tiny vision-language model of the demonstration: strive_rl/demo_model.

python -m tools.train_tiny_vlm init      # tokenizer, processor and random weights
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from tools.tiny.corpus import question_texts
from tools.tiny.vlm_folder import make_config, make_model, make_processor, train_tokenizer

FOLDER = Path(__file__).parents[1] / "strive_rl" / "demo_model"


def init(folder: Path, *, seed: int) -> None:
    """Write a complete folder with untrained weights."""
    tokenizer = train_tokenizer(question_texts())
    make_processor(tokenizer).save_pretrained(folder)
    model = make_model(make_config(tokenizer), seed=seed)
    model.save_pretrained(folder)
    print(f"{folder}: {sum(weight.numel() for weight in model.parameters()):,} parameters")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("stage", choices=("init",))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    init(args.folder, seed=args.seed)


if __name__ == "__main__":
    main()
