"""Sampling and the update by completion length, against plain rows of transformers.

    python -m tools.bench.step --tokens 32 128 256 768

One thread, float32, a random model of the width given (no tower: prompts of text). Every round measures each
way once, so that a busy machine slows all alike; printed are medians and the spread of CPU seconds beside the
clock, and the exponent with which ours grow with the completion tokens. `plain` is one full forward and
backward pass over G rows of prompt and completion.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import Qwen3VLConfig

from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, Prompt, Sampling, logprobs, packing, sample
from strive_rl.policy.architectures.qwen3_vl import Qwen3VL
from strive_rl.policy.load import freeze
from strive_rl.schema import Completion, VideoFeatures

VOCABULARY = 1000
Seconds = tuple[float, float]


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    policy = random_policy(arguments.width, arguments.layers)
    rng = np.random.default_rng(0)
    prompts = [text_prompt(rng, arguments.prompt, arguments.width) for _ in range(arguments.prompts)]
    print(f"{'tokens':>6} {'way':>8} {'CPU s':>7} {'spread':>7} {'wall s':>7}")
    ours: dict[str, list[float]] = {"sample": [], "update": []}
    for tokens in arguments.tokens:
        ways = _ways(policy, prompts, _completions(rng, prompts, arguments.completions, tokens))
        taken: dict[str, list[Seconds]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, work in ways.items():
                taken[name].append(_seconds(work))
        for name, seconds in taken.items():
            cpu, wall = ([each[i] for each in seconds] for i in (0, 1))
            spread = max(cpu) - min(cpu)
            middle = statistics.median(cpu)
            print(
                f"{tokens:>6} {name:>8} {middle:>7.3f} {spread:>7.3f} {statistics.median(wall):>7.3f}",
                flush=True,
            )
            if name in ours:
                ours[name].append(middle)
    if len(arguments.tokens) > 1:
        for name, seconds in ours.items():
            slope, _ = np.polyfit(np.log(arguments.tokens), np.log(seconds), 1)
            print(f"{name} grows as tokens^{slope:.2f}")


def random_policy(width: int, layers: int) -> Policy:
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 4, 4]}
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "rope_parameters": rope,
        "pad_token_id": 0,
    }
    vision = {"depth": 1, "hidden_size": 32, "num_heads": 2, "out_hidden_size": width}
    config = Qwen3VLConfig(text_config=text, vision_config=vision | {"deepstack_visual_indexes": [0]})
    settings = PolicySettings(device="cpu", dtype="float32")
    torch.manual_seed(0)
    model = Qwen3VL.model_class(config)
    freeze(model, settings)
    packing.register(model)
    return Policy(
        model=model,
        processor=argparse.Namespace(tokenizer=argparse.Namespace(decode=lambda ids, **options: "")),
        architecture=Qwen3VL(),
        settings=settings,
        device=torch.device("cpu"),
        suppressed=torch.zeros(VOCABULARY, dtype=torch.bool),
        end_ids=(),
        pad_id=0,
        name="random",
    )


def text_prompt(rng: np.random.Generator, length: int, width: int) -> Prompt:
    nothing = torch.zeros(0, width)
    return Prompt(
        ids=rng.integers(1, VOCABULARY, length),
        positions=np.tile(np.arange(length), (3, 1)),
        is_video=np.zeros(length, dtype=bool),
        pixels=torch.zeros(0),
        grid=(0, 0, 0),
        features=VideoFeatures(tokens=nothing, deep=(nothing,)),
    )


def _completions(
    rng: np.random.Generator, prompts: list[Prompt], count: int, tokens: int
) -> list[list[Completion]]:
    ids = rng.integers(1, VOCABULARY, (len(prompts), count, tokens)).tolist()
    return [
        [Completion(ids=tuple(each), logprobs=(0.0,) * tokens, text="", finished=True) for each in row]
        for row in ids
    ]


def _ways(
    policy: Policy, prompts: list[Prompt], completions: list[list[Completion]]
) -> dict[str, Callable[[], object]]:
    sampling = Sampling(
        completions=len(completions[0]), max_new_tokens=len(completions[0][0].ids), greedy=True
    )

    def update() -> None:
        logprobs(policy, prompts, completions, 1.0).sum().backward()
        policy.model.zero_grad()

    def plain() -> None:
        for prompt, row in zip(prompts, completions, strict=True):
            ids = torch.tensor([[*prompt.ids.tolist(), *each.ids] for each in row])
            positions = torch.arange(ids.shape[1]).expand(3, len(row), -1)
            kept = ids.shape[1] - len(prompt.ids) + 1
            logits = policy.model(input_ids=ids, position_ids=positions, logits_to_keep=kept).logits[:, :-1]
            picked = torch.log_softmax(logits, dim=-1).gather(-1, ids[:, len(prompt.ids) :, None])
            picked.sum().backward()
        policy.model.zero_grad()

    return {"sample": lambda: sample(policy, prompts, sampling), "update": update, "plain": plain}


def _seconds(work: Callable[[], object]) -> Seconds:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, nargs="+", default=[32, 128, 256, 768])
    parser.add_argument("--prompt", type=int, default=325)
    parser.add_argument("--prompts", type=int, default=2)
    parser.add_argument("--completions", type=int, default=8)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
