"""Compare what older versions of transformers read in the model folders that we write: greedy tokens, logits.

    pip install --target /tmp/old --no-deps 'transformers==4.57.*' 'huggingface_hub<1' 'tokenizers<0.23'
    python -m tools.older_readers /tmp/old

Tiny models of each architecture, with a tied head and a head of its own, are saved as checkpoints are; then a
process with that folder first on its path, and one with the installed version, load them by `AutoModel` and
`AutoProcessor` and answer the same prompt. Exit code 1 where they differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

READER = """
import json, sys
import torch, transformers
from transformers import AutoModelForImageTextToText, AutoProcessor

folder = sys.argv[1]
model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
tokenizer = AutoProcessor.from_pretrained(folder).tokenizer
prompt = tokenizer("<|im_start|>user Which? A. red B. blue<|im_end|>", return_tensors="pt").input_ids
with torch.no_grad():
    logits = model(input_ids=prompt).logits[0, -1].tolist()
    answer = model.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=16, do_sample=False
    )[0].tolist()
special = [tokenizer.eos_token, tokenizer.pad_token, len(tokenizer)]
read = {"answer": answer, "logits": logits, "special": special}
print("READ" + json.dumps({"version": transformers.__version__} | read))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("library", type=Path, help="folder that holds an older transformers")
    library: Path = parser.parse_args().library
    with TemporaryDirectory() as home:
        results = [compare(folder, library) for folder in save_models(Path(home))]
    raise SystemExit(0 if all(results) else 1)


def save_models(home: Path) -> list[Path]:
    """Model folders as a run writes them."""
    from strive_rl.config import PolicySettings
    from strive_rl.policy import load_policy
    from strive_rl.train import checkpoint
    from tests.strive_rl.made.models import TINY_MODELS, redraw

    folders = []
    for name, make in TINY_MODELS.items():
        if name.startswith("qwen3_5") or name.endswith("_moe"):
            continue  # Version 4.57 does not know Qwen3.5, and stores experts in another shape.
        policy = load_policy(str(make(home / "made" / name)), PolicySettings(device="cpu"))
        for head in ("tied", "untied"):
            if head == "untied":
                untie(policy.model)
                redraw(policy.model, seed=1)
            folders.append(home / f"{name} with a head {head}")
            checkpoint.write(folders[-1], policy, checkpoint.snapshot(policy))
    return folders


def untie(model: Any) -> None:
    import torch

    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())


def compare(folder: Path, library: Path) -> bool:
    """Whether both versions read the same model, printed in one line."""
    old, new = read(folder, str(library)), read(folder, "")
    gap = max(abs(a - b) for a, b in zip(old["logits"], new["logits"], strict=True))
    same = gap < 1e-4 and all(old[key] == new[key] for key in ("answer", "special"))
    verdict = "same" if same else "DIFFERENT"
    print(f"{folder.name}: {old['version']} and {new['version']}: {verdict}, logits within {gap:.1e}")
    return same


def read(folder: Path, library: str) -> dict[str, Any]:
    environment = os.environ | {"PYTHONPATH": library, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READER, str(folder)], env=environment, capture_output=True, text=True
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("READ")), None)
    if line is None:
        sys.exit(
            f"{folder.name} cannot be read with {library or 'the installed version'}:\n{done.stderr[-800:]}"
        )
    found: dict[str, Any] = json.loads(line.removeprefix("READ"))
    return found


if __name__ == "__main__":
    main()
