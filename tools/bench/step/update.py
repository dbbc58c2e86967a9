"""Sampling and the update by completion length, against PrefixGrouper and plain rows of transformers.

    pip install -e '.[bench]'
    python -m tools.bench.step.update --tokens 32 128 256 768

One thread, float32, a random Qwen2.5-VL and prompts of text, so that no vision tower is in the figures. Every
round measures each way once, so that a busy machine slows all alike; printed are medians and the spread of
CPU seconds beside the clock, and the exponent with which each way grows with the completion tokens. An update
is a forward and a backward pass over the log-probabilities of all completions. `grouper` is PrefixGrouper
(arXiv 2506.05433) around torch's attention, `plain` a full row for each completion.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, Prompt, Sampling, load_policy, logprobs, sample
from strive_rl.schema import Completion
from tools.bench.measure import parser
from tools.bench.models import save_model, small
from tools.bench.step.__main__ import Seconds, growth, median_ratio, take_turns

WAYS = ("sample", "ours", "grouper", "plain")


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        folder = save_model(Path(made) / "model", small(arguments.width, arguments.layers))
        policy, other = (_text_policy(folder) for _ in range(2))
    rng = np.random.default_rng(0)
    prompts = [text_prompt(rng, arguments.prompt, arguments.width) for _ in range(arguments.prompts)]
    print(f"{'tokens':>6} {'way':>8} {'CPU s':>8} {'spread':>7} {'wall s':>8} {'× ours':>7}")
    taken: dict[str, list[float]] = {name: [] for name in arguments.ways}
    for tokens in arguments.tokens:
        ways = update_ways(
            policy, other.model, prompts, random_completions(rng, prompts, arguments.completions, tokens)
        )
        rounds = take_turns({name: ways[name] for name in arguments.ways}, arguments.rounds)
        for name, seconds in rounds.items():
            taken[name].append(statistics.median(each[0] for each in seconds))
            print(_line(tokens, name, seconds, rounds.get("ours", seconds)), flush=True)
    if len(arguments.tokens) > 1:
        for name, medians in taken.items():
            print(f"{name} grows as tokens^{growth(arguments.tokens, medians):.2f}")


def _line(tokens: int, name: str, seconds: list[Seconds], ours: list[Seconds]) -> str:
    cpu, wall = ([each[i] for each in seconds] for i in (0, 1))
    ratio = ""
    if name in ("grouper", "plain"):
        ratio = f"{median_ratio(cpu, [each[0] for each in ours]):>7.2f}"
    spread = max(cpu) - min(cpu)
    return (
        f"{tokens:>6} {name:>8} {statistics.median(cpu):>8.3f} {spread:>7.3f} "
        f"{statistics.median(wall):>8.3f} {ratio}"
    )


def _text_policy(folder: Path) -> Policy:
    """A policy that never ends a completion."""
    return replace(load_policy(str(folder), PolicySettings(device="cpu", dtype="float32")), end_ids=())


def text_prompt(rng: np.random.Generator, length: int, width: int) -> Prompt:
    """A prompt of random text."""
    return Prompt(
        ids=rng.integers(1, 500, length),
        positions=np.tile(np.arange(length), (3, 1)),
        is_video=np.zeros(length, dtype=bool),
        pixels=torch.zeros(0),
        grid=(0, 0, 0),
        features=torch.zeros(0, width),
    )


def random_completions(
    rng: np.random.Generator, prompts: list[Prompt], count: int, tokens: int
) -> list[list[Completion]]:
    """Completions of random text, `count` for each prompt."""
    ids = rng.integers(1, 500, (len(prompts), count, tokens)).tolist()
    return [
        [Completion(ids=tuple(each), logprobs=(0.0,) * tokens, text="", finished=True) for each in row]
        for row in ids
    ]


def update_ways(
    policy: Policy, model: Any, prompts: list[Prompt], completions: list[list[Completion]]
) -> dict[str, Callable[[], torch.Tensor]]:
    """Sampling, and the update in each way: it returns the log-probabilities [R, L] and leaves no gradients.
    `model` is that of `plain` and `grouper`; all completions are of one length."""
    count, tokens = len(completions[0]), len(completions[0][0].ids)
    sampling = Sampling(completions=count, max_new_tokens=tokens, greedy=True)
    prompt_ids = torch.tensor(np.stack([prompt.ids for prompt in prompts]))
    completion_ids = torch.tensor([each.ids for row in completions for each in row])
    hidden = policy.suppressed

    def learn(made: torch.Tensor, owner: Any) -> torch.Tensor:
        made.sum().backward()
        owner.zero_grad()
        return made.detach()

    def picked(states: torch.Tensor) -> torch.Tensor:
        logits = model.lm_head(states).masked_fill(hidden, -torch.inf)
        return torch.log_softmax(logits, dim=-1).gather(-1, completion_ids[..., None])[..., 0]

    def drawn() -> torch.Tensor:
        rows = sample(policy, prompts, sampling)
        return torch.tensor([each.ids for row in rows for each in row])

    def plain() -> torch.Tensor:
        model.set_attn_implementation({"text_config": "sdpa"})
        ids = torch.cat([prompt_ids.repeat_interleave(count, 0), completion_ids], dim=1)
        positions = torch.arange(ids.shape[1]).expand(3, len(ids), -1)
        text = model.model.language_model
        states = text(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        return learn(picked(states[:, -tokens - 1 : -1]), model)

    return {
        "sample": drawn,
        "ours": lambda: learn(logprobs(policy, prompts, completions, 1.0), policy.model),
        "grouper": lambda: learn(picked(_grouped(model, prompt_ids, completion_ids, count)), model),
        "plain": plain,
    }


def _grouped(model: Any, prompts: torch.Tensor, completions: torch.Tensor, count: int) -> torch.Tensor:
    """Hidden states [R, L, D] before each completion token, by PrefixGrouper as its documentation has it; the
    vocabulary is projected for these alone, which its example does not do."""
    from prefix_grouper import PrefixGrouper

    AttentionInterface.register("prefix_grouper", _grouper_attention)
    AttentionMaskInterface.register("prefix_grouper", sdpa_mask)
    model.set_attn_implementation({"text_config": "prefix_grouper"})
    masks = torch.ones_like(prompts), torch.ones_like(completions)
    grouper = PrefixGrouper.from_ungrouped_masks(*masks, group_sizes=count, padding_mode="right")
    ids = grouper.concat_input(prompts, masks[0], completions, masks[1])
    length, tokens = prompts.shape[1], completions.shape[1]
    own = torch.arange(tokens).repeat(count) + length
    positions = torch.cat([torch.arange(length), own]).expand(3, len(ids), -1)
    states = model.model.language_model(
        input_ids=ids, position_ids=positions, use_cache=False, prefix_grouper=grouper
    ).last_hidden_state
    return grouper.split_output(states, include_prefix_last=1)[2][:, :-1]


def _grouper_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """`valid` marks padding, of which there is none: rows are of one length."""
        queries, keys = q.shape[2], k.shape[2]
        whole = queries == keys
        seen = None if whole else torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
        made = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=seen, is_causal=whole, scale=module.scaling, enable_gqa=True
        )
        return made.transpose(1, 2)

    return options["prefix_grouper"].forward(attend, query, key, value), None


def _arguments() -> argparse.Namespace:
    options = parser(__doc__)
    add = options.add_argument
    add("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    add("--tokens", type=int, nargs="+", default=[32, 128, 256, 768])
    add("--prompt", type=int, default=325)
    add("--prompts", type=int, default=2)
    add("--completions", type=int, default=8)
    add("--width", type=int, default=384)
    add("--layers", type=int, default=6)
    add("--rounds", type=int, default=3)
    return options.parse_args()


if __name__ == "__main__":
    main()
