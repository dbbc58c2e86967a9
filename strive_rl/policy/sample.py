"""Prompts → G completions each. Every prompt is read once; its cache is then repeated G times.

Own decode loop with explicit position ids (the last prompt position + 1 + step, on all axes), because the
positions that `generate` would derive differ from the trained ones (DESIGN.md 7.1). No top-k, no top-p: what
is sampled is the distribution that is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import DynamicCache

from strive_rl.policy.encode import Prompt
from strive_rl.policy.load import Policy
from strive_rl.policy.tokens import distribution
from strive_rl.policy.vision import embed
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
    """State of the decode loop for B rows: cache, who may be seen [B, seen], next position [B]."""

    cache: DynamicCache
    seen: torch.Tensor
    next_position: torch.Tensor


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
    state.cache.batch_repeat_interleave(sampling.completions)
    state.seen = state.seen.repeat_interleave(sampling.completions, dim=0)
    state.next_position = state.next_position.repeat_interleave(sampling.completions)
    hidden = hidden.repeat_interleave(sampling.completions, dim=0)
    ended = torch.zeros(len(hidden), dtype=torch.bool, device=policy.device)
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
    rows = _completions(policy, torch.stack(ids, dim=1), torch.stack(logprobs, dim=1))
    return [rows[i : i + sampling.completions] for i in range(0, len(rows), sampling.completions)]


def _prefill(policy: Policy, prompts: Sequence[Prompt]) -> tuple[_Decoding, torch.Tensor]:
    """Read the prompts, left-padded; the decode state and the last hidden states [P, D]."""
    columns = max(len(prompt.ids) for prompt in prompts)
    pads = [columns - len(prompt.ids) for prompt in prompts]
    pairs = list(zip(prompts, pads, strict=True))
    ids = np.stack([np.pad(p.ids, (n, 0), constant_values=policy.pad_id) for p, n in pairs])
    is_video = np.stack([np.pad(p.is_video, (n, 0)) for p, n in pairs])
    positions = np.stack([np.pad(p.positions, ((0, 0), (n, 0))) for p, n in pairs], axis=1)
    seen = np.stack([np.arange(columns) >= n for n in pads])
    device = policy.device
    embeddings = embed(policy, _on(device, ids), _on(device, is_video), prompts)
    last = [int(prompt.positions.max()) + 1 for prompt in prompts]
    text = policy.model.model.language_model
    state = _Decoding(
        cache=DynamicCache(config=text.config),
        seen=_on(device, seen),
        next_position=torch.tensor(last, device=device),
    )
    output = text(
        inputs_embeds=embeddings,
        position_ids=_on(device, positions),
        attention_mask=state.seen,
        past_key_values=state.cache,
        use_cache=True,
    )
    return state, output.last_hidden_state[:, -1]


def _decode(policy: Policy, state: _Decoding, token_B: torch.Tensor) -> torch.Tensor:
    """Feed one token a row; the hidden states [B, D] after it."""
    text = policy.model.model.language_model
    state.seen = torch.cat([state.seen, torch.ones_like(state.seen[:, :1])], dim=1)
    output = text(
        inputs_embeds=text.embed_tokens(token_B)[:, None],
        position_ids=state.next_position[None, :, None].expand(3, -1, -1),
        attention_mask=state.seen,
        past_key_values=state.cache,
        use_cache=True,
    )
    state.next_position = state.next_position + 1
    hidden: torch.Tensor = output.last_hidden_state[:, 0]
    return hidden


def _draw(
    policy: Policy, hidden_BD: torch.Tensor, sampling: Sampling, generator: torch.Generator | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Next ids [B] and their log-probabilities [B]."""
    logprobs = distribution(policy, hidden_BD, sampling.temperature)
    if sampling.greedy:
        ids = logprobs.argmax(dim=-1)
    else:
        ids = torch.multinomial(logprobs.exp(), 1, generator=generator)[:, 0]
    return ids, logprobs.gather(-1, ids[:, None])[:, 0]


def _completions(policy: Policy, ids_BL: torch.Tensor, logprobs_BL: torch.Tensor) -> list[Completion]:
    """Cut each row after its first end token."""
    made: list[Completion] = []
    for ids, logprobs in zip(ids_BL.tolist(), logprobs_BL.tolist(), strict=True):
        ends = [place for place, token in enumerate(ids) if token in policy.end_ids]
        length = ends[0] + 1 if ends else len(ids)
        text = policy.tokenizer.decode(ids[:length], skip_special_tokens=True)
        made.append(
            Completion(
                ids=tuple(ids[:length]), logprobs=tuple(logprobs[:length]), text=text, finished=bool(ends)
            )
        )
    return made


def _on(device: torch.device, array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).to(device)
