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
import numpy.typing as npt
import torch
from transformers import DynamicCache

from strive_data.errors import StriveError
from strive_rl.policy.logprobs import distribution
from strive_rl.policy.policy import Policy
from strive_rl.policy.vision import model_inputs
from strive_rl.schema import Completion, Prompt

# The random numbers of sampling: a function of what is asked, never of what else is in the batch.
#
# A completion draws its token t with the t-th number of a stream of its own, so it is the same in whatever
# pass, and on whichever of however many processes, its prompt is read. Only rounding can still tell passes
# apart: the probabilities of a token differ by some 1e-7, and so does where a number falls between two
# tokens.

# The last word of the counter; 0 and 1 order the questions (strive_rl.data.plan).
PURPOSE = 2
# Bits of a number: with 52 of them u·total stays below the total, whatever it is rounded to.
BITS = 52


@dataclass(frozen=True, kw_only=True)
class RngKey:
    """What the random numbers of a prompt's completions depend on: the run's seed, and which variant of which
    sample, by its position in the data, in which epoch. No two prompts of a run have the same."""

    seed: int
    epoch: int = 0
    position: int = 0
    variant: int = 0

    def uniforms(self, completions: int, tokens: int) -> npt.NDArray[np.float64]:
        """Numbers in [0, 1), float64 [G, L]: the first of any G and L are those of a larger G or L."""
        rows = [self._row(number, tokens) for number in range(completions)]
        return np.stack(rows)

    def _row(self, completion: int, tokens: int) -> npt.NDArray[np.float64]:
        """Raw Philox bits, the same on every machine and numpy."""
        key = np.array([self.seed, self.epoch], dtype=np.uint64)
        place = [0, self.position, (self.variant << 32) + completion, PURPOSE]
        raw = np.random.Philox(key=key, counter=np.array(place, dtype=np.uint64)).random_raw(tokens)
        return (raw >> np.uint64(64 - BITS)).astype(np.float64) * 2.0**-BITS


def pick(probabilities_RV: torch.Tensor, uniforms_R: torch.Tensor) -> torch.Tensor:
    """Ids int64 [R]: the first whose cumulative probability exceeds the number; never one of probability 0.

    Summed in float64: in float32 the small probabilities of a large vocabulary would be lost beside the sum.
    """
    cumulative = probabilities_RV.cumsum(dim=-1, dtype=torch.float64)
    wanted = uniforms_R[:, None] * cumulative[:, -1:]
    ids = torch.searchsorted(cumulative, wanted, right=True)[:, 0]
    # Behind the last id only where a probability is not a number, which who asks will see (`sample`).
    return ids.clamp(max=probabilities_RV.shape[-1] - 1)


class NotFiniteError(StriveError):
    """The model's probabilities are not numbers: its weights are spoilt."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How completions are drawn; `greedy` takes the likeliest token and needs no chances."""

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
    policy: Policy, prompts: Sequence[Prompt], sampling: Sampling, chances: Sequence[RngKey] = ()
) -> list[list[Completion]]:
    """G completions of each prompt, [P][G], `policy.prompts_per_pass` prompts at a time.

    `chances` hold one for each prompt, unless `sampling.greedy`; equal chances, prompts and settings give
    equal completions. Raises NotFiniteError where the model's probabilities are not numbers.
    """
    if not sampling.greedy and len(chances) != len(prompts):
        raise ValueError(f"{len(chances)} chances for {len(prompts)} prompts")
    policy.model.eval()
    with torch.no_grad():
        return policy.fsdp_forward(lambda: _sample_passes(policy, prompts, sampling, chances))


def _sample_passes(
    policy: Policy, prompts: Sequence[Prompt], sampling: Sampling, chances: Sequence[RngKey]
) -> list[list[Completion]]:
    size = policy.settings.prompts_per_pass
    done: list[list[Completion]] = []
    for start in range(0, len(prompts), size):
        few = slice(start, start + size)
        done += _sample_pass(policy, prompts[few], sampling, chances[few])
    return done


def _sample_pass(
    policy: Policy, prompts: Sequence[Prompt], sampling: Sampling, chances: Sequence[RngKey]
) -> list[list[Completion]]:
    uniforms_LPG = None if sampling.greedy else _uniforms(policy, sampling, chances)
    state, hidden = _prefill(policy, prompts)
    ended = torch.zeros(len(prompts), sampling.completions, dtype=torch.bool, device=policy.device)
    end_ids = torch.tensor(policy.end_ids, device=policy.device)
    ids: list[torch.Tensor] = []
    logprobs: list[torch.Tensor] = []
    entropies: list[torch.Tensor] = []
    for step in range(sampling.max_new_tokens):
        if step:
            hidden = _decode(policy, state, ids[-1])
        uniforms_PG = None if uniforms_LPG is None else uniforms_LPG[step]
        token, logprob, entropy = _draw(policy, hidden, sampling, uniforms_PG)
        ids.append(token)
        logprobs.append(logprob)
        entropies.append(entropy)
        ended |= torch.isin(token, end_ids)
        if bool(ended.all()):
            break
    if not all(bool(each.isfinite().all()) for each in logprobs):
        raise NotFiniteError("sampling: the policy's probabilities are not finite numbers; are its weights?")
    grids = [torch.stack(each, dim=-1).tolist() for each in (ids, logprobs, entropies)]
    return [
        [_completion(policy, *each) for each in zip(*row, strict=True)] for row in zip(*grids, strict=True)
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
    hidden = policy.forward(inputs, _on(device, positions), cache=state.cache)
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
    return policy.forward(
        {"inputs_embeds": policy.embed(token_PG)},
        position.expand(3, -1, -1),
        mask=torch.cat(seen, dim=-1),
        cache=state.cache,
    )


def _uniforms(policy: Policy, sampling: Sampling, chances: Sequence[RngKey]) -> torch.Tensor:
    """Random numbers float64 [L, P, G] of a pass, on the policy's device."""
    made = [chance.uniforms(sampling.completions, sampling.max_new_tokens) for chance in chances]
    return _on(policy.device, np.stack(made)).permute(2, 0, 1)


def _draw(
    policy: Policy, hidden: torch.Tensor, sampling: Sampling, uniforms_PG: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Next ids, their log-probabilities and the entropies of what they are drawn from, each [P, G], after
    hidden states [P, G, D], or [P, 1, D]; the likeliest ids without `uniforms_PG`."""
    logprobs_PGV = distribution(policy, hidden, sampling.temperature).expand(-1, sampling.completions, -1)
    probabilities_PGV = logprobs_PGV.exp()
    if uniforms_PG is None:
        ids = logprobs_PGV.argmax(dim=-1)
    else:
        ids = pick(probabilities_PGV.flatten(0, 1), uniforms_PG.flatten()).view(logprobs_PGV.shape[:2])
    entropies = torch.special.entr(probabilities_PGV).sum(dim=-1)
    return ids, logprobs_PGV.gather(-1, ids[..., None])[..., 0], entropies


def _completion(policy: Policy, ids: list[int], logprobs: list[float], entropies: list[float]) -> Completion:
    """The completion of one row of samples, cut after its first end token."""
    ends = [place for place, token in enumerate(ids) if token in policy.end_ids]
    length = ends[0] + 1 if ends else len(ids)
    return Completion(
        ids=tuple(ids[:length]),
        logprobs=tuple(logprobs[:length]),
        text=policy.tokenizer.decode(ids[:length], skip_special_tokens=True),
        finished=bool(ends),
        entropies=tuple(entropies[:length]),
    )


def _on(device: torch.device, array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).to(device)
