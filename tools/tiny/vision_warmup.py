"""Teach the vision tower to tell shapes and colours apart, and to say so in the language model's own words.

Besides a head that is thrown away, the features of a frame pair are turned towards the sum of the word
embeddings of what it shows: the language model can then match a word of the question with a video token.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch.nn import functional

from strive_data.demo.world import COLOURS, SHAPES
from strive_rl.policy import Policy
from tools.tiny.pairs import LOOKS, Pairs, augment, patches

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
