"""Prompts → G completions each. Every prompt is read once, and its cache is held once.

The G completions grow side by side in the row of their prompt: a decode step feeds G tokens a row, and a mask
lets each see the prompt and its own completion. Differs from DESIGN.md section 5, which repeats the cache G
times (`batch_repeat_interleave`): the same numbers from a G times smaller cache.

Own decode loop with explicit position ids (the last prompt position + 1 + step, on all axes), because the
positions that `generate` would derive differ from the trained ones (DESIGN.md 7.1). Prompts are padded on the
right, so that reading them needs no mask. No top-k, no top-p: what is sampled is the distribution that is
trained (a truncated one would have to be trained truncated too, to the sets of ids kept when it was sampled).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import DynamicCache

from strive_rl.policy.encode import Prompt
from strive_rl.policy.model import Policy
from strive_rl.policy.tokens import distribution
from strive_rl.policy.vision import model_inputs
from strive_rl.schema import Completion


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How completions are drawn; `greedy` takes the likeliest token and needs no generator."""

    completions: int
    max_new_tokens: int
    temperature: float = 1.0
    greedy: bool = False


@dataclass(kw_only=True, eq=False)
class _Decoding:
    """State of the decode loop for P prompts of C columns: their cache, which columns hold a prompt bool
    [P, C], the next position [P], and how many tokens each completion has fed so far."""

    cache: DynamicCache
    is_prompt: torch.Tensor
    next_position: torch.Tensor
    fed: int = 0


def sample(
    policy: Policy, prompts: Sequence[Prompt], sampling: Sampling, generator: torch.Generator | None = None
) -> list[list[Completion]]:
    """G completions of each prompt, [P][G], `policy.prompts_per_pass` prompts at a time.

    `generator` lives on the policy's device; equal generators, prompts and settings give equal completions.
    """
    size = policy.settings.prompts_per_pass
    done: list[list[Completion]] = []
    policy.model.eval()
    with torch.no_grad():
        for start in range(0, len(prompts), size):
            done += _sample_pass(policy, prompts[start : start + size], sampling, generator)
    return done


def _sample_pass(
    policy: Policy, prompts: Sequence[Prompt], sampling: Sampling, generator: torch.Generator | None
) -> list[list[Completion]]:
    state, hidden = _prefill(policy, prompts)
    ended = torch.zeros(len(prompts), sampling.completions, dtype=torch.bool, device=policy.device)
    end_ids = torch.tensor(policy.end_ids, device=policy.device)
    ids: list[torch.Tensor] = []
    logprobs: list[torch.Tensor] = []
    for step in range(sampling.max_new_tokens):
        if step:
            hidden = _decode(policy, state, ids[-1])
        token, logprob = _draw(policy, hidden, sampling, generator)
        ids.append(token)
        logprobs.append(logprob)
        ended |= torch.isin(token, end_ids)
        if bool(ended.all()):
            break
    ids_PGL, logprobs_PGL = torch.stack(ids, dim=-1).tolist(), torch.stack(logprobs, dim=-1).tolist()
    return [
        [_completion(policy, *pair) for pair in zip(*row, strict=True)]
        for row in zip(ids_PGL, logprobs_PGL, strict=True)
    ]


def _prefill(policy: Policy, prompts: Sequence[Prompt]) -> tuple[_Decoding, torch.Tensor]:
    """Read the prompts; the decode state and the last hidden states [P, 1, D]."""
    device, lengths = policy.device, [len(prompt.ids) for prompt in prompts]
    columns = max(lengths)
    gaps = [(prompt, (0, columns - len(prompt.ids))) for prompt in prompts]
    ids = np.stack([np.pad(p.ids, gap, constant_values=policy.pad_id) for p, gap in gaps])
    is_video = np.stack([np.pad(p.is_video, gap) for p, gap in gaps])
    positions = np.stack([np.pad(p.positions, ((0, 0), gap)) for p, gap in gaps], axis=1)
    state = _Decoding(
        cache=policy.new_cache(),
        is_prompt=_on(device, np.arange(columns) < np.array(lengths)[:, None]),
        next_position=torch.tensor([int(p.positions.max()) + 1 for p in prompts], device=device),
    )
    inputs = model_inputs(policy, _on(device, ids), _on(device, is_video), prompts)
    hidden = policy.read(inputs, _on(device, positions), cache=state.cache)
    last = torch.tensor(lengths, device=device) - 1
    return state, hidden[torch.arange(len(prompts), device=device), last][:, None]


def _decode(policy: Policy, state: _Decoding, token_PG: torch.Tensor) -> torch.Tensor:
    """Feed one token a completion; the hidden states [P, G, D] after them."""
    count, completions = token_PG.shape
    position = (state.next_position + state.fed)[:, None].expand(-1, completions)
    state.fed += 1
    own = torch.eye(completions, dtype=torch.bool, device=policy.device).repeat(1, state.fed)
    seen = [
        state.is_prompt[:, None, None].expand(-1, -1, completions, -1),
        own.expand(count, 1, -1, -1),
    ]
    return policy.read(
        {"inputs_embeds": policy.embed(token_PG)},
        position.expand(3, -1, -1),
        mask=torch.cat(seen, dim=-1),
        cache=state.cache,
    )


def _draw(
    policy: Policy, hidden: torch.Tensor, sampling: Sampling, generator: torch.Generator | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Next ids [P, G] and their log-probabilities [P, G], after hidden states [P, G, D], or [P, 1, D]."""
    logprobs_PGV = distribution(policy, hidden, sampling.temperature).expand(-1, sampling.completions, -1)
    if sampling.greedy:
        ids = logprobs_PGV.argmax(dim=-1)
    else:
        chances = logprobs_PGV.exp().flatten(0, 1)
        ids = torch.multinomial(chances, 1, generator=generator).view(logprobs_PGV.shape[:2])
    return ids, logprobs_PGV.gather(-1, ids[..., None])[..., 0]


def _completion(policy: Policy, ids: list[int], logprobs: list[float]) -> Completion:
    """The completion of one row of samples, cut after its first end token."""
    ends = [place for place, token in enumerate(ids) if token in policy.end_ids]
    length = ends[0] + 1 if ends else len(ids)
    return Completion(
        ids=tuple(ids[:length]),
        logprobs=tuple(logprobs[:length]),
        text=policy.tokenizer.decode(ids[:length], skip_special_tokens=True),
        finished=bool(ends),
    )


def _on(device: torch.device, array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).to(device)
