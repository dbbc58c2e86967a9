"""Each change of the built-in loop beside the plain way that it replaced, which takes its place meanwhile.

    python -m tools.bench.step.changes [--only tower pairs] [--rounds 9]

One thread, float32, a random Qwen2.5-VL, 384 wide; prompts of 325 tokens of text, or frames of noise. Both
ways run once and must give equal tokens, or values of which none differs by more than 1e-4 of the largest.
Then they take turns: medians and spreads (most − least) of CPU seconds, and the median of before / after.

Not measured here: loading by one process, which needs two (RESULTS.md, "Loading on several processes"); and
captured decode steps, pinned copies, a look at ends every 8 tokens, fused AdamW, device_id: only on a GPU.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa

from strive_rl import policy as ours
from strive_rl.config import DataSettings, PolicySettings
from strive_rl.data import Builds, Cursor, Loader
from strive_rl.policy.generate import Decoding, PackedRow, attend
from strive_rl.policy.logprobs import token_logprobs
from strive_rl.rollout.groups import encode_groups, with_prompts
from tools.bench.gpu.shards import make_shards
from tools.bench.measure import parser
from tools.bench.models import save_model, small
from tools.bench.step.__main__ import median_ratio, peak_over_idle, surroundings, take_turns
from tools.bench.step.task import Task
from tools.bench.step.update import random_completions, text_prompt, update_ways

Work = Callable[[], torch.Tensor]
Change = tuple[str, Work, Work]  # a case, before, after
TOLERANCE, WIDTH, HEADS_TO_A_KEY, VOCABULARY = 1e-4, 384, 3, 151_936


def rows(change: Change, rounds: int) -> Iterator[str]:
    """Rows of the table. Raises ValueError where the ways do not give the same."""
    case, *ways = change
    one, other = (way() for way in ways)
    apart = float((one - other).abs().max() / one.abs().max())
    if not apart <= (TOLERANCE if one.is_floating_point() else 0):
        raise ValueError(f"{case}: the largest difference is {apart:.1e} of the largest value")
    taken = take_turns(dict(enumerate(ways)), rounds).values()
    seconds = [[each["by the clock" in case] for each in way] for way in taken]
    shown = " | ".join(f"{statistics.median(x):.3f} ± {max(x) - min(x):.3f}" for x in seconds)
    yield f"| {case} | {shown} | {median_ratio(*seconds):.2f} | {f'to {apart:.0e}' if apart else 'equal'} |"
    if case.startswith("log-probabilities"):
        before, after = (peak_over_idle(way) / 2**20 for way in ways)
        yield f"| the same, peak over idle, MiB | {before:.0f} | {after:.0f} | {before / after:.2f} | |"


def policy_of(folder: Path, depth: int = 6, **settings: Any) -> ours.Policy:
    """A policy that may draw every id and never ends a completion; the same weights for each depth."""
    model = folder / str(depth)
    if not model.exists():
        save_model(model, small(WIDTH, depth))
    chosen = PolicySettings(device="cpu", dtype="float32", **settings)
    all_ids = torch.zeros(2048, dtype=torch.bool)
    return replace(ours.load_policy(str(model), chosen), end_ids=(), suppressed=all_ids)


def sampling(policy: ours.Policy, prompts: int, tokens: int) -> Work:
    """Ids of 8 completions of each prompt."""
    texts = [text_prompt(np.random.default_rng(number), 325, WIDTH) for number in range(prompts)]
    keys = [ours.RngKey(seed=0, position=number) for number in range(prompts)]
    work = partial(ours.sample, policy, texts, ours.Sampling(completions=8, max_new_tokens=tokens), keys)
    return lambda: torch.tensor([token for row in work() for completion in row for token in completion.ids])


def update(policy: ours.Policy, tokens: int, *, shared: bool = True) -> Work:
    """Log-probabilities of 8 completions of a prompt, and a backward pass."""
    prompts = [text_prompt(np.random.default_rng(0), 325, WIDTH)]
    (row,) = random_completions(np.random.default_rng(1), prompts, 8, tokens)
    groups = (prompts, [row]) if shared else (prompts * 8, [[each] for each in row])
    return update_ways(policy, None, *groups)["ours"]


def copied_keys(row: PackedRow, completions: int, tokens: int) -> Decoding:
    """A copy of the prompts' keys and values for each query head of each completion, made once."""
    state, count = Decoding(row, completions, tokens), completions * HEADS_TO_A_KEY
    state.prompts = {i: [x.repeat_interleave(count, 1) for x in pair] for i, pair in state.prompts.items()}
    return state


def attend_copies(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **options: Any) -> Any:
    """`attend` of folded queries, each over its copy."""
    out, lse = attend(query.reshape(*key.shape[:2], -1, key.shape[3]), key, value, **options)
    return out.reshape(query.shape), lse.reshape(query.shape[:3])


def copied_row(row: PackedRow, layer: int, q: Any, k: Any, v: Any, scale: float) -> torch.Tensor:
    """Each completion of the one prompt over a copy of its keys and values for each query head."""
    end, count, behind = row.prompts_end, len(row.completions[0]), k.shape[2] - row.prompts_end
    first, of_prompt = q[:, :, : q.shape[2] - behind], [each[:, :, :end] for each in (k, v)]
    made = sdpa(first, *of_prompt, is_causal=first.shape[2] > 1, scale=scale, enable_gqa=True)
    q, *own = (x[0, :, -behind:].unflatten(1, (count, -1)).transpose(0, 1) for x in (q, k, v))
    joint = [torch.cat([x.repeat_interleave(count, 0), y], 2) for x, y in zip(of_prompt, own, strict=True)]
    copies = [each.repeat_interleave(HEADS_TO_A_KEY, 1) for each in joint]
    seen = torch.ones(behind // count, end + behind // count, dtype=torch.bool).tril(end)
    out = sdpa(q, *copies, attn_mask=seen, scale=scale).transpose(0, 1).flatten(1, 2)
    return torch.cat([made, out[None]], 2).transpose(1, 2)


def masked_row(row: Any, layer: int, q: Any, k: Any, v: Any, scale: float) -> torch.Tensor:
    """All columns of the row of one prompt under one mask; queries are its last columns."""
    if not hasattr(row, "mask"):
        places = torch.arange(k.shape[2]) - row.prompts_end
        part = (places // row.own.columns.shape[1]).clamp(min=-1)
        row.mask = torch.where(((part == part[:, None]) | (places < 0)).tril(), 0.0, -torch.inf)
    return sdpa(q, k, v, attn_mask=row.mask[-q.shape[2] :], scale=scale, enable_gqa=True).transpose(1, 2)


class Concatenated(Decoding):
    """Keys and values of the completions grow by a column a token."""

    def __call__(self, layer: int, *inputs: Any) -> torch.Tensor:
        grown = (torch.cat([x[:, :, : self.width - 1], x[:, :, :1]], 2) for x in self.own[layer])
        self.own[layer] = next(grown), next(grown)
        return super().__call__(layer, *inputs)  # writes the last column


def sampled(folder: Path) -> Iterator[Change]:
    policy, generate = policy_of(folder), ours.generate
    work = sampling(policy, 2, 64)
    former = patch.multiple(generate, Decoding=copied_keys, attend=attend_copies)(work)
    yield "keys and values of a group not repeated: sampling, 2 × 8 × 64 tokens", former, work
    work = sampling(policy, 1, 256)
    former = patch.multiple(generate, Decoding=Concatenated, PACE={"cpu": (1, 1, 0.85)})(work)
    yield "preallocated cache: sampling, 8 × 256", former, work
    adapted = policy_of(folder, lora_rank=8)
    for _, weight in adapted.trainable():
        torch.nn.init.normal_(weight, std=0.02)
    work = sampling(adapted, 2, 64)
    former = patch.multiple(generate, merged_adapters=nullcontext)(work)
    yield "adapters (rank 8) merged: sampling, 2 × 8 × 64", former, work
    work = sampling(replace(policy, end_ids=tuple(range(0, 2048, 64))), 2, 192)
    former = patch.multiple(generate, PACE={"cpu": (32, 1, 0.0)})(work)
    yield f"ended rows leave: sampling, 2 × 8 of {len(work()) / 16:.0f} tokens on average", former, work


def updated(folder: Path) -> Iterator[Change]:
    def whole(layer: Any, states: torch.Tensor, *, rows: PackedRow, **options: Any) -> Any:
        return type(layer).__mro__[1].forward(layer, states, rows=rows, **options)[:, rows.kept]

    policy, shallow = policy_of(folder), policy_of(folder, 2)
    narrow = patch.multiple(ours.layers, _narrow=whole)
    masked = patch.multiple(PackedRow, __call__=masked_row)
    work = sampling(policy, 2, 1)
    yield "last layer: prompts' keys and values alone: reading 2 prompts", narrow(work), work
    work = update(policy, 32)
    yield "last layer: prompts' keys and values alone: update, 8 × 32", narrow(work), work
    work = update(policy, 128)
    former = patch.multiple(PackedRow, __call__=copied_row)(work)
    yield "keys and values of a group not repeated: update, 8 × 128", former, work
    for tokens in (32, 128, 256, 768):
        work, size = update(shallow, tokens), f"update of 2 layers, 8 × {tokens}"
        yield f"prompt shared: {size}", update(shallow, tokens, shared=False), work
        yield f"completions see their own tokens alone: {size}", masked(work), work


def tower(folder: Path) -> Iterator[Change]:
    policy, pixels, size = policy_of(folder), torch.randn(16**3, 3 * 2 * 14**2), "tower, 32 frames of 224×224"
    embed, config = policy.model.model.visual.patch_embed, policy.model.config.vision_config
    work = torch.no_grad()(lambda: policy.encode_vision(pixels, [(16, 16, 16)])[0])
    former = patch.multiple(config, _attn_implementation_internal="sdpa")(work)
    yield f"vision windows of one size in one call: {size}", former, work
    conv = partial(type(embed).forward, embed)
    yield f"patch embedding as one matmul: {size}", patch.multiple(embed, forward=conv)(work), work
    yield "patch embedding as one matmul: alone, 4,096 patches", partial(conv, pixels), partial(embed, pixels)


def pairs(folder: Path) -> Iterator[Change]:
    def read(policy: ours.Policy, *calls: list[ours.Prompt]) -> torch.Tensor:
        return torch.cat([each.features for call in calls for each in ours.with_features(policy, call)])

    for kind in ("consecutive", "doubled"):
        policy = policy_of(folder, frame_pairs=kind, prompts_per_pass=1)  # calls of one size in both
        prompts = ours.encode(policy, Task(questions=1, variants=2).groups()[0])
        case = f"pairs of both variants read once: tower, 2 × 32 frames of 112×112, {kind}"
        yield case, partial(read, policy, *([each] for each in prompts)), partial(read, policy, prompts)


def vocabulary(folder: Path) -> Iterator[Change]:
    head, hidden = torch.nn.Linear(WIDTH, VOCABULARY, bias=False), torch.zeros(VOCABULARY, dtype=torch.bool)
    states, ids = torch.randn(512, WIDTH, requires_grad=True), torch.randint(VOCABULARY, (512,))

    def learned(logprobs: Work) -> torch.Tensor:
        made = logprobs()
        gradient, _ = torch.autograd.grad(made.sum(), (states, head.weight))
        return torch.cat([made.detach(), gradient.flatten()])

    def full() -> torch.Tensor:
        return head(states).masked_fill(hidden, -torch.inf).log_softmax(-1).gather(-1, ids[:, None])[:, 0]

    for size in (1024, 128):
        model, settings = SimpleNamespace(lm_head=head), SimpleNamespace(logits_chunk_tokens=size)
        policy = SimpleNamespace(model=model, suppressed=hidden, settings=settings)
        case = f"log-probabilities in chunks of {size:,}: 512 tokens, {VOCABULARY:,} ids"
        by_hand = partial(token_logprobs, policy, states, ids, 1.0)
        yield case, partial(learned, full), partial(learned, by_hand)


def loader(folder: Path) -> Iterator[Change]:
    policy = policy_of(folder, train_vision=True)  # its tower is read in the update
    builds = Builds(make_shards(folder / "shards", questions=8, frames=32, height=252, width=392))

    def steps(prepare: Any) -> torch.Tensor:
        threads, cursor, ids = Loader(builds, DataSettings(questions_per_step=2), seed=0), Cursor(), []
        threads.prepare = prepare
        for _ in range(4):
            groups, _, cursor = threads.take(cursor)
            ids += [torch.from_numpy(x.ids) for y in encode_groups(policy, groups)[0] for x in y.prompts]
            time.sleep(1.0)
        threads.close()
        return torch.cat(ids)

    case = "prompts made in the loader's threads, by the clock: 4 steps of 2 × 2 views, 1 s of a GPU each"
    yield case, partial(steps, None), partial(steps, partial(with_prompts, policy))


def main() -> None:
    options = parser(__doc__)
    names = {each.__name__: each for each in (sampled, updated, tower, pairs, vocabulary, loader)}
    options.add_argument("--only", nargs="+", choices=names, default=list(names))
    options.add_argument("--rounds", type=int, default=5)
    arguments = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(surroundings(), "\n| change | before | after | before / after | equal |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for change in (each for name in arguments.only for each in names[name](Path(folder))):
            print(*rows(change, arguments.rounds), sep="\n", flush=True)
    print(__doc__.split("\n\n")[-1])


if __name__ == "__main__":
    main()
