"""Prompts → G completions each. Every prompt is read once.

The decode loop is our own, with explicit position ids (the last prompt position + 1 + step, on all axes): the
positions that `generate` derives differ from the trained ones. There is no top-k and no top-p, so the sampled
distribution is the trained one.

A completion draws its token t with the t-th number of a stream of its own (`RngKey`), so it is the same in
whatever pass, and on whichever process, its prompt is read. Only rounding can differ between passes: the
probabilities of a token by some 1e-7, and with them the border between two tokens.

The prompts' keys and values are held once a prompt, those of the completions in buffers as long as the
longest completion may get. A step feeds one token a completion: its query heads see the prompt's keys, folded
over the prompt's completions, and the completion's own keys, both under a mask, joined by log-sum-exp. Which
step it is, is a number on the device, so a CUDA graph of one step is replayed for all steps of a width. The
state of a linear layer after the prompt is repeated for its completions and moves on in place. Completions
that have ended leave: the state is cut down to the rows that go on.

Shape letters: P prompts, G completions of each, R = P·G rows, L tokens of a completion, V vocabulary,
S columns of the longest prompt, A key heads, D width of the model, or of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from strive_data.errors import StriveError
from strive_rl.common.progress import phase
from strive_rl.policy.architectures.experts import routers
from strive_rl.policy.architectures.linear_attention import Inputs, gated_delta
from strive_rl.policy.encode import read_packed
from strive_rl.policy.kernels import attend, fold, join
from strive_rl.policy.logprobs import distribution
from strive_rl.policy.lora import merged_adapters
from strive_rl.policy.packing import KeyValues, PackedRow
from strive_rl.policy.policy import THROUGH, WHOLE, Policy
from strive_rl.schema import Completion, Prompt

# The last word of the Philox counter; 0 and 1 order the questions (strive_rl.data.sampler).
PURPOSE = 2
# Bits of a random number: with 52 of them u·total stays below the total, whatever it is rounded to.
BITS = 52
# e to this is the least number above 0, or near it, that float32 holds in full.
LEAST = -87.0
# Probabilities that `pick` sums up first; known vocabularies are multiples of it.
BLOCK = 128


class NotFiniteError(StriveError):
    """The model's probabilities are not finite numbers."""


@dataclass(frozen=True, kw_only=True)
class RngKey:
    """Key of the random numbers of a prompt's completions: the run's seed, and which variant of which sample,
    by its position in the data, in which epoch. It is unique in a run."""

    seed: int
    epoch: int = 0
    position: int = 0
    variant: int = 0

    def uniforms(self, completions: int, tokens: int) -> npt.NDArray[np.float64]:
        """Numbers in [0, 1), float64 [G, L], from raw Philox bits, the same on every machine and numpy: a
        smaller G or L gives the first of a larger one's."""
        key = np.array([self.seed, self.epoch], dtype=np.uint64)
        places = [[0, self.position, (self.variant << 32) + g, PURPOSE] for g in range(completions)]
        counters = [np.array(place, dtype=np.uint64) for place in places]
        raw = [np.random.Philox(key=key, counter=counter).random_raw(tokens) for counter in counters]
        return (np.stack(raw) >> np.uint64(64 - BITS)).astype(np.float64) * 2.0**-BITS


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How completions are drawn; `greedy` takes the likeliest token and needs no keys."""

    completions: int
    max_new_tokens: int
    temperature: float = 1.0
    greedy: bool = False


def sample(
    policy: Policy, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[RngKey] = ()
) -> list[list[Completion]]:
    """G completions of each prompt, [P][G], `policy.prompts_per_pass` prompts at a time; `keys` as in
    `RolloutEngine.sample`. Raises NotFiniteError where the model's probabilities are not numbers."""
    if not sampling.greedy and len(keys) != len(prompts):
        raise ValueError(f"{len(keys)} random keys for {len(prompts)} prompts")
    policy.model.eval()
    size = policy.settings.prompts_per_pass

    def run() -> list[list[Completion]]:
        rows: list[list[Completion]] = []
        with merged_adapters(policy.model):
            for start in range(0, len(prompts), size):
                part = slice(start, start + size)
                rows += _Pass(policy, prompts[part], sampling, keys[part]).run()
        return rows

    with torch.no_grad():
        return policy.fsdp_forward(run)


class Decoding:
    """State of the decode loop; as `rows` of a forward pass, the attention of one step.

    `step` int64 [1]: the tokens that every row has fed before; `width`: how many columns of the completions'
    buffers a step looks at, more than `step`; `capacity`: how many they have; `next_position` int64 [P].
    """

    def __init__(self, row: PackedRow, completions: int, tokens: int) -> None:
        device, (example, _) = row.kept.device, next(iter(row.keys_values.values()))
        self.prompts = row.keys_values
        lengths = [end - start for start, end in row.prompts]
        columns = torch.arange(example.shape[2], device=device)
        hidden = columns >= torch.tensor(lengths, device=device)[:, None]
        self._prompt_mask = _additive(hidden, example.dtype)[:, None, None] if hidden.any() else None
        _, heads, _, width = example.shape
        shape = (len(lengths) * completions, heads, tokens, width)
        # Zeros, since a masked place still counts 0 times what it holds.
        self.own: dict[int, KeyValues] = {
            layer: (example.new_zeros(shape), example.new_zeros(shape)) for layer in row.keys_values
        }
        prompt_of = torch.arange(len(lengths), device=device).repeat_interleave(completions)
        self.states = {layer: state.of(prompt_of) for layer, state in row.states.items()}
        self.next_position = torch.tensor(row.following, device=device)
        self.completions = completions
        self.step = torch.zeros(1, dtype=torch.int64, device=device)
        self.width, self.capacity = 0, tokens
        self._own_mask, self._dtype = torch.zeros(0), example.dtype

    @property
    def positions(self) -> torch.Tensor:
        """Position ids int64 [3, P, G] of the tokens of this step."""
        position = (self.next_position + self.step)[:, None].expand(-1, self.completions)
        return position.expand(3, -1, -1)

    def prepare(self) -> None:
        """Make the mask of this step, which all layers use."""
        columns = torch.arange(self.width, device=self.step.device)
        self._own_mask = _additive(columns > self.step, self._dtype)[None, None, None]

    def __call__(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Attention [P, G, H, D] of queries [P, H, G, D]; keys and values [P, A, G, D] are stored first."""
        prompts, heads, completions, width = query.shape
        shared = key.shape[1]
        for buffer, new in zip(self.own[layer], (key, value), strict=True):
            # At this step's column of [R, A, L, D].
            buffer.index_copy_(2, self.step, new.transpose(1, 2).flatten(0, 1)[:, :, None])
        mask = self._prompt_mask
        if mask is not None:
            mask = mask.expand(-1, -1, heads // shared * completions, -1)
        out, lse = attend(fold(query, shared), *self.prompts[layer], scale=scale, mask=mask)
        own_query = query.transpose(1, 2).reshape(prompts * completions, shared, heads // shared, width)
        own_out, own_lse = attend(
            own_query, *(each[:, :, : self.width] for each in self.own[layer]), scale=scale,
            mask=self._own_mask.expand(-1, -1, heads // shared, -1),
        )  # fmt: skip
        # Both as [P, G, H].
        out = out.view(prompts, heads, completions, width).transpose(1, 2)
        lse = lse.reshape(prompts, heads, completions).transpose(1, 2)
        own_out, own_lse = own_out.view_as(out), own_lse.reshape(lse.shape)
        attended, _ = join(out, lse, own_out, own_lse)
        return attended.to(query.dtype)

    def linear(self, mixer: Any, inputs: Inputs) -> torch.Tensor:
        """Outputs [P, G, H, V] of one token a row; the states of the layer move on."""
        prompts, completions = inputs.beta.shape[:2]
        state = self.states[mixer.layer_idx]
        # [P, G] tokens as [P·G, 1].
        out, after = gated_delta(mixer, Inputs(*(each.flatten(0, 1)[:, None] for each in inputs)), state)
        state.conv.copy_(after.conv)
        state.matrix.copy_(after.matrix)
        return out.view(prompts, completions, *out.shape[2:])

    def keep(self, prompts: torch.Tensor, rows: torch.Tensor, completions: int) -> None:
        """Go on with these prompts, int64 [P'], and these rows, int64 [P'·completions], in their order."""
        self.prompts = {layer: (k[prompts], v[prompts]) for layer, (k, v) in self.prompts.items()}
        self.own = {layer: (k[rows], v[rows]) for layer, (k, v) in self.own.items()}
        self.states = {layer: state.of(rows) for layer, state in self.states.items()}
        if self._prompt_mask is not None:
            self._prompt_mask = self._prompt_mask[prompts]
        self.next_position, self.completions = self.next_position[prompts], completions


def _additive(hidden: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """0, and −∞ where `hidden`."""
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill(hidden, -torch.inf)


# By device: by how many columns the width of a decode step grows; tokens between two looks at which rows have
# ended; rows leave once the remaining grid is at most this part of the present one. On a GPU a look waits for
# the device, and each width and number of rows is a graph of its own.
PACE = {"cpu": (32, 1, 0.85), "cuda": (128, 8, 0.5)}


class _Pass:
    """Sampling for the prompts of one pass: state on the device, of static shapes between two looks."""

    def __init__(
        self, policy: Policy, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[RngKey]
    ) -> None:
        self.policy, self.sampling = policy, sampling
        device, completions, tokens = policy.device, sampling.completions, sampling.max_new_tokens
        self.columns, self.look, self.shrink = PACE[device.type]
        rows = len(prompts) * completions
        self.rows = torch.arange(rows, device=device)
        self.ended = torch.zeros(rows, dtype=torch.bool, device=device)
        self.token = torch.zeros(rows, dtype=torch.int64, device=device)
        self.end_ids = torch.tensor(policy.end_ids, dtype=torch.int64, device=device)
        # [L, R], flat: rows that left keep their place.
        self.ids = torch.zeros(tokens * rows, dtype=torch.int64, device=device)
        self.logprobs = torch.zeros(tokens * rows, device=device)
        self.entropies = torch.zeros(tokens * rows, device=device)
        self.uniforms: torch.Tensor | None = None
        if not sampling.greedy:
            made = np.stack([key.uniforms(completions, tokens) for key in keys])
            self.uniforms = torch.from_numpy(made).to(device).flatten(0, 1).T.contiguous()
        self.total_rows = rows
        row = PackedRow(prompts, (), device, keep=True)
        hidden = read_packed(policy, row, prompts)
        # The last token is never fed.
        self.decoding = Decoding(row, completions, max(1, tokens - 1))
        self._draw(hidden.transpose(0, 1))

    def run(self) -> list[list[Completion]]:
        """Decode to the end."""
        graph: torch.cuda.CUDAGraph | None = None
        for step in range(1, self.sampling.max_new_tokens):
            if step % self.look == 0:
                phase(f"sampling, token {step} of {self.sampling.max_new_tokens}")
                if bool(self.ended.all()):
                    break
                if self._drop_ended_rows():
                    graph = None
            width = min(-(-step // self.columns) * self.columns, self.decoding.capacity)
            if width != self.decoding.width:
                self.decoding.width, graph = width, None
            if graph is not None:
                graph.replay()
            else:
                self.step()
                graph = self._captured()
        return self._completions()

    def step(self) -> None:
        """Feed one token a row and draw the next."""
        decoding, policy = self.decoding, self.policy
        decoding.prepare()
        embeddings = policy.embed(self.token.view(-1, decoding.completions))
        hidden = policy.forward({"inputs_embeds": embeddings}, decoding.positions, decoding)
        decoding.step += 1
        self._draw(hidden)

    def _captured(self) -> torch.cuda.CUDAGraph | None:
        """The step as a CUDA graph, after one was run; None on other devices, for weights that are sharded
        now (their passes exchange), and for experts, whose loads another step may not have."""
        model, on_gpu = self.policy.model, self.policy.device.type == "cuda"
        sharded = hasattr(model, THROUGH) and not getattr(model, WHOLE, False)
        if not (on_gpu and self.policy.settings.cuda_graphs) or sharded or routers(model):
            return None
        graph = torch.cuda.CUDAGraph()
        # What other threads do, as those that write a checkpoint, does not end a capture.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self.step()
        return graph

    def _draw(self, hidden: torch.Tensor) -> None:
        """Draw the next token of each row after hidden states [P, G, D], or [P, 1, D], and write it down."""
        # A CPU takes twenty times as long over e to the minus infinity.
        logprobs_PGV = distribution(self.policy, hidden, self.sampling.temperature).clamp_(min=LEAST)
        logprobs_RV = logprobs_PGV.expand(-1, self.decoding.completions, -1).flatten(0, 1)
        probabilities_RV = logprobs_RV.exp().masked_fill_(self.policy.suppressed, 0.0)
        step = self.decoding.step
        if self.uniforms is None:
            ids = logprobs_RV.argmax(dim=-1)
        else:
            ids = pick(probabilities_RV, self.uniforms.index_select(0, step)[0])
        place = step * self.total_rows + self.rows
        self.ids.index_copy_(0, place, ids)
        self.logprobs.index_copy_(0, place, logprobs_RV.gather(-1, ids[:, None])[:, 0])
        self.entropies.index_copy_(0, place, -(probabilities_RV * logprobs_RV).sum(dim=-1))
        self.ended |= (ids[:, None] == self.end_ids).any(dim=-1)
        self.token.copy_(ids)

    def _drop_ended_rows(self) -> bool:
        """Cut the state down to a grid of the rows that go on, where that saves enough."""
        ended_PG = self.ended.view(-1, self.decoding.completions)
        going_on = (~ended_PG).sum(dim=1)
        most, prompts = int(going_on.max()), going_on.nonzero()[:, 0]
        if len(prompts) * most > self.shrink * len(self.rows):
            return False
        first = ended_PG.int().argsort(dim=1, stable=True)[:, :most]
        kept = (prompts[:, None] * self.decoding.completions + first[prompts]).flatten()
        self.decoding.keep(prompts, kept, most)
        self.rows, self.ended, self.token = self.rows[kept], self.ended[kept], self.token[kept]
        if self.uniforms is not None:
            self.uniforms = self.uniforms[:, kept]
        return True

    def _completions(self) -> list[list[Completion]]:
        if not bool(self.logprobs.isfinite().all()):
            raise NotFiniteError("sampling: the policy's probabilities are not finite numbers.")
        size, rows = self.sampling.completions, self.total_rows
        columns = [each.view(-1, rows).T.tolist() for each in (self.ids, self.logprobs, self.entropies)]
        flat: list[Completion] = []
        for ids, logprobs, entropies in zip(*columns, strict=True):
            # Cut after the first end token.
            ends = [place for place, token in enumerate(ids) if token in self.policy.end_ids]
            length = ends[0] + 1 if ends else len(ids)
            made = Completion(
                ids=tuple(ids[:length]),
                logprobs=tuple(logprobs[:length]),
                text=self.policy.tokenizer.decode(ids[:length], skip_special_tokens=True),
                finished=bool(ends),
                entropies=tuple(entropies[:length]),
            )
            flat.append(made)
        return [flat[start : start + size] for start in range(0, rows, size)]


def pick(probabilities_RV: torch.Tensor, uniforms_R: torch.Tensor) -> torch.Tensor:
    """Ids int64 [R]: the first whose cumulative probability exceeds the number; never one of probability 0.

    Summed in float64, since float32 loses the small probabilities of a large vocabulary; by blocks and then
    within one, since a float64 sum for each id would take longer than all else of a draw.
    """
    vocabulary = probabilities_RV.shape[-1]
    if vocabulary % BLOCK:
        probabilities_RV = torch.nn.functional.pad(probabilities_RV, (0, -vocabulary % BLOCK))
    blocks_RNB = probabilities_RV.view(len(probabilities_RV), -1, BLOCK)
    ends_RN = blocks_RNB.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    wanted_R1 = uniforms_R[:, None] * ends_RN[:, -1:]
    # Beyond the last one only where a probability is NaN, which raises NotFiniteError later.
    block_R1 = torch.searchsorted(ends_RN, wanted_R1, right=True).clamp_(max=ends_RN.shape[1] - 1)
    inside_RB = blocks_RNB.gather(1, block_R1[..., None].expand(-1, -1, BLOCK))[:, 0]
    cumulative_RB = inside_RB.cumsum(dim=-1, dtype=torch.float64)
    rest_R1 = wanted_R1 - torch.nn.functional.pad(ends_RN, (1, 0)).gather(1, block_R1)
    # Rounding may take it to the end of the block.
    total_R1 = cumulative_RB[:, -1:]
    rest_R1 = torch.minimum(rest_R1, total_R1.nextafter(torch.zeros_like(total_R1)))
    ids = block_R1 * BLOCK + torch.searchsorted(cumulative_RB, rest_R1, right=True)
    return ids[:, 0].clamp(max=vocabulary - 1)
