"""Before reinforcement learning: the vision tower learns to name what it sees, the language model to answer.

Besides a head that is thrown away, the features of a frame pair are turned towards the sum of the word
embeddings of what it shows: the language model can then match a word of the question with a video token. Then
it imitates good answers until a share of held-out questions is right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from strive_data.demo.world import COLOURS, SHAPES
from strive_rl.answers.accuracy import final_answer
from strive_rl.policy import Policy, Sampling, logprobs, sample, with_features
from tools.tiny.examples import Example, compose, make_bank
from tools.tiny.pool import LOOKS, Pairs, augment, patches

WORDS_WEIGHT = 3.0
REPORT_EVERY = 100


def warm_up_vision(
    policy: Policy, pairs: Pairs, held_out: Pairs, *, epochs: int, batch: int, lr: float, seed: int
) -> None:
    """Each pair says which of the LOOKS needles it shows; prints the share of right held-out pairs."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    visual = policy.model.model.visual.requires_grad_(True)
    head = torch.nn.Linear(policy.model.config.text_config.hidden_size, LOOKS)
    torch.nn.init.constant_(head.bias, -4.0)
    words_LD, blank_D = look_words(policy)
    weights = [*visual.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=lr, weight_decay=0.05, betas=(0.9, 0.98))
    a_round = len(pairs.looks) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * a_round, pct_start=0.1)
    started = time.monotonic()
    for step in range(epochs * a_round):
        if step % a_round == 0:
            order = rng.permutation(len(pairs.looks))
        rows = order[step % a_round * batch :][:batch]
        made = pair_features(policy, augment(pairs.frames[rows], rng))
        wanted = torch.from_numpy(pairs.looks[rows])
        apart = 1 - functional.cosine_similarity(made, blank_D + wanted @ words_LD).mean()
        loss = functional.binary_cross_entropy_with_logits(head(made), wanted) * LOOKS + WORDS_WEIGHT * apart
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == epochs * a_round:
            right = distinguished(policy, head, held_out)
            seconds = time.monotonic() - started
            print(f"vision {step + 1} loss {loss:.3f} held-out {right:.3f} {seconds:.0f} s", flush=True)
    visual.requires_grad_(False)


def pair_features(policy: Policy, frames: np.ndarray) -> torch.Tensor:
    """Features [P, D] of pairs uint8 [P, 2, 28, 28, 3]."""
    pixels = patches(frames, policy.processor.video_processor)
    grids = torch.tensor([[1, 2, 2]] * len(frames))
    made = policy.model.model.get_video_features(pixels, grids, return_dict=True)
    return torch.cat(list(made.pooler_output))


def distinguished(policy: Policy, head: torch.nn.Linear, pairs: Pairs) -> float:
    """Share of the pairs with exactly one needle whose look the head names."""
    alone = pairs.looks.sum(axis=1) == 1
    with torch.no_grad():
        named = head(pair_features(policy, pairs.frames[alone])).argmax(dim=1).numpy()
    return float((named == pairs.looks[alone].argmax(axis=1)).mean())


def look_words(policy: Policy) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the embeddings of colour and shape of each look [LOOKS, D]; the word for none [D]."""
    table = policy.model.model.language_model.embed_tokens.weight.detach()

    def word(text: str) -> torch.Tensor:
        (token,) = policy.tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
        return table[token]

    looks = torch.stack([word(colour) + word(shape) for colour in COLOURS for shape in SHAPES])
    return looks, word("video")


Batches = Callable[[np.random.Generator, "Phase"], list[Example]]

WARM_UP_STEPS = 30


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One part of the warm start, `steps` at most.

    With `all_answers` the answers that name another option count too, for their letter: letters must follow
    from thoughts. `crowded` is the share of examples in which every frame pair shows a needle.
    """

    steps: int
    batch: int
    lr: float
    all_answers: bool
    crowded: float


LETTERS = Phase(steps=200, batch=64, lr=2e-3, all_answers=True, crowded=0.0)
READING = Phase(steps=1500, batch=24, lr=1e-3, all_answers=False, crowded=1.0)
# Stops early: from there reinforcement learning gains; from 500 steps on imitation gains little more.
HARD = Phase(steps=150, batch=24, lr=1e-3, all_answers=True, crowded=1.0)


def composed(policy: Policy, examples: Sequence[Example]) -> Batches:
    """Batches of known questions over new combinations of known frame pairs (examples.py)."""
    bank = make_bank(examples)

    def batch(rng: np.random.Generator, phase: Phase) -> list[Example]:
        chosen = rng.choice(len(examples), phase.batch, replace=False)
        return [compose(policy, bank, examples[i], rng, crowded=phase.crowded) for i in chosen]

    return batch


def warm_start(
    policy: Policy,
    batches: Batches,
    held_out: Sequence[Example],
    *,
    phases: Sequence[Phase],
    until: float,
    every: int,
    seed: int,
) -> float:
    """Train the language model; stops where the accuracy on `held_out` reaches `until`, and returns it."""
    rng = np.random.default_rng(seed)
    parameters = [parameter for _, parameter in policy.trainable()]
    started, reached = time.monotonic(), 0.0
    for phase in phases:
        optimizer = torch.optim.AdamW(parameters, lr=phase.lr, weight_decay=0.01, betas=(0.9, 0.98))
        for step in range(phase.steps):
            for group in optimizer.param_groups:
                group["lr"] = phase.lr * min(1.0, (step + 1) / WARM_UP_STEPS)
            taken = batches(rng, phase)
            loss = imitation_loss(policy, [one if phase.all_answers else right_only(one) for one in taken])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            if (step + 1) % every == 0:
                reached = accuracy(policy, held_out)
                seconds = time.monotonic() - started
                print(f"warm {step + 1} loss {loss:.3f} held-out {reached:.3f} {seconds:.0f} s", flush=True)
                if reached >= until:
                    return reached
    return reached


def imitation_loss(policy: Policy, examples: Sequence[Example]) -> torch.Tensor:
    """Mean negative log-probability of the tokens that count."""
    made = logprobs(policy, [one.prompt for one in examples], [one.targets for one in examples], 1.0)
    rows = [np.pad(one.weights, ((0, 0), (0, made.shape[1])))[:, : made.shape[1]] for one in examples]
    weights = torch.from_numpy(np.concatenate(rows))
    return -(made * weights).sum() / weights.sum()


def right_only(example: Example) -> Example:
    """The example with nothing but its right answer."""
    right = int(example.weights.sum(axis=1).argmax())
    return replace(example, targets=(example.targets[right],), weights=example.weights[right : right + 1])


def accuracy(policy: Policy, examples: Sequence[Example]) -> float:
    """Share of right letters among greedy answers."""
    sampling = Sampling(completions=1, max_new_tokens=24, greedy=True)
    answers = sample(policy, [example.prompt for example in examples], sampling)
    letters = [final_answer(row[0].text) for row in answers]
    return float(np.mean([found == one.letter for found, one in zip(letters, examples, strict=True)]))


def frozen(policy: Policy, examples: Sequence[Example]) -> list[Example]:
    """The examples with the features of the vision tower as it is now."""
    prompts = with_features(policy, [example.prompt for example in examples])
    return [replace(example, prompt=prompt) for example, prompt in zip(examples, prompts, strict=True)]
