"""What every way is given: questions with the frames of their variants, how much is sampled, and a reward."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from strive_data.config import SamplerSettings
from strive_data.sampling.samplers import draw
from strive_data.schema import Question
from strive_rl.policy.encode import user_text
from strive_rl.schema import Group, PromptStyle, SampleRef, View

STYLE = PromptStyle(reason=False, form="Answer with the letter of one option.")
CANDIDATES = 128


@dataclass(frozen=True, kw_only=True)
class Task:
    """The size of a step: Q questions with M variants of K square frames, G completions of L tokens each."""

    questions: int = 2
    variants: int = 1
    completions: int = 8
    frames: int = 32
    side: int = 112
    tokens: int = 32

    @property
    def rollouts(self) -> int:
        """Completions of a step."""
        return self.questions * self.variants * self.completions

    def groups(self) -> list[Group]:
        """The questions with their variants, drawn by the default sampler from random scores of 128
        candidates, noise pictures a second apart."""
        rng = np.random.default_rng(0)
        return [self._group(rng, number) for number in range(self.questions)]

    def _group(self, rng: np.random.Generator, number: int) -> Group:
        candidates = rng.integers(0, 256, (CANDIDATES, self.side, self.side, 3), dtype=np.uint8)
        scores = smooth_scores(rng)
        settings = SamplerSettings(frames=self.frames, variants=self.variants)
        chosen_MK = draw("peaks", scores, settings, offset=0.5)
        views = tuple(View(frames=candidates[row], times=row.astype(np.float64)) for row in chosen_MK)
        return Group(
            question=question_of(number), views=views, ref=SampleRef(position=number, epoch=0), style=STYLE
        )


def smooth_scores(rng: np.random.Generator) -> np.ndarray:
    """Random scores float32 [CANDIDATES] that change little from one candidate to the next."""
    return np.convolve(rng.normal(size=CANDIDATES + 8), np.ones(9) / 9, mode="valid").astype(np.float32)


def question_of(number: int) -> Question:
    """A question of two options."""
    return Question(
        sample_id=f"q{number}",
        video=f"{number}.mp4",
        question=f"What happens in the video after that? ({number})",
        options=("A. nothing", "B. something"),
        answer="A",
        problem_type="multiple choice",
    )


def text_of(group: Group) -> str:
    """The text of the prompt behind the video."""
    return user_text(group.question, group.style)


def reward_of(text: str) -> float:
    """0 or 1 by a hash of the text: no way can learn it, and every question teaches something."""
    return float(hashlib.sha256(text.encode()).digest()[0] & 1)


def reward_parts(text: str, question: Question) -> dict[str, float]:
    """The same as `reward.function` of a run."""
    return {"accuracy": reward_of(text), "format": 0.0}
