"""Forward and backward over rows of a prompt and its completions: a dense mask against split attention.

    python -m tools.bench.attention --lengths 1024 4096 16384

Each line is one way at one prompt length, in a process of its own: seconds of log-probabilities and
gradients, and the peak of resident memory above that of the loaded model. Random weights do not change them.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import Qwen3VLConfig

from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, Prompt, logprobs, packing
from strive_rl.policy.load import freeze
from strive_rl.policy.qwen3_vl import Qwen3VL
from strive_rl.schema import Completion, VideoFeatures

WAYS = ("dense", "split")
WIDTH, LAYERS, VOCABULARY = 256, 4, 1000


def main() -> None:
    arguments = _arguments()
    if arguments.way:
        _measure(arguments)
        return
    print(f"{'prompt':>7} {'way':>6} {'seconds':>8} {'MiB more':>9}")
    for length in arguments.lengths:
        for way in WAYS:
            own = ["--way", way, "--lengths", str(length), "--dtype", arguments.dtype]
            own += ["--completions", str(arguments.completions), "--tokens", str(arguments.tokens)]
            own += ["--rows", str(arguments.rows)] + ["--recompute"] * arguments.recompute
            subprocess.run([sys.executable, "-m", "tools.bench.attention", *own], check=True)


def _measure(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    (length,) = arguments.lengths
    policy = _policy(arguments.way, arguments.dtype, arguments.recompute)
    rng = np.random.default_rng(0)
    rows = arguments.rows
    prompts = [_prompt(rng, length) for _ in range(rows)]
    answers = [_completion(rng, arguments.tokens) for _ in range(arguments.completions)]
    logprobs(policy, [_prompt(rng, 64)], [answers[:2]], 1.0).sum().backward()
    before = _peak_mib()
    with _timed() as seconds:
        logprobs(policy, prompts, [answers] * rows, 1.0).sum().backward()
    print(f"{length:>7} {arguments.way:>6} {seconds[0]:>8.2f} {_peak_mib() - before:>9.0f}", flush=True)


def _policy(way: Any, dtype: Any, recompute: bool) -> Policy:
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 4, 4]}
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": 3 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "rope_parameters": rope,
        "pad_token_id": 0,
    }
    vision = {"depth": 1, "hidden_size": 32, "num_heads": 2, "out_hidden_size": WIDTH}
    config = Qwen3VLConfig(text_config=text, vision_config=vision | {"deepstack_visual_indexes": [0]})
    settings = PolicySettings(device="cpu", dtype=dtype, attention=way, gradient_checkpointing=recompute)
    torch.manual_seed(0)
    model = Qwen3VL.model_class(config).to(torch.bfloat16 if dtype == "bfloat16" else torch.float32)
    freeze(model, settings)
    packing.register(model)
    return Policy(
        model=model,
        processor=None,
        architecture=Qwen3VL(),
        settings=settings,
        device=torch.device("cpu"),
        suppressed=torch.zeros(VOCABULARY, dtype=torch.bool),
        end_ids=(),
        pad_id=0,
        name="random",
    )


def _prompt(rng: np.random.Generator, length: int) -> Prompt:
    nothing = torch.zeros(0, WIDTH)
    return Prompt(
        ids=rng.integers(1, VOCABULARY, length),
        positions=np.tile(np.arange(length), (3, 1)),
        is_video=np.zeros(length, dtype=bool),
        pixels=torch.zeros(0),
        grid=(0, 0, 0),
        features=VideoFeatures(tokens=nothing, deep=(nothing,)),
    )


def _completion(rng: np.random.Generator, tokens: int) -> Completion:
    ids = tuple(int(token) for token in rng.integers(1, VOCABULARY, tokens))
    return Completion(ids=ids, logprobs=(0.0,) * tokens, text="", finished=True)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def _timed() -> Iterator[list[float]]:
    seconds: list[float] = []
    started = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - started)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=[1024, 4096, 8192])
    parser.add_argument("--completions", type=int, default=4)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--recompute", action="store_true", help="gradient checkpointing")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
