"""A lesson that teaches nothing, for a process that has no question left while others have.

One question about two small frames with one answer of two tokens: the shortest way through every weight that
a real lesson uses.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from strive_data.schema import Question
from strive_rl.lesson import Lesson
from strive_rl.policy import Policy
from strive_rl.rollout import encode_groups
from strive_rl.schema import Completion, Group, View

SIDE = 64
LONG = 1 << 20


def make_filler(policy: Policy) -> Lesson:
    """The lesson for this policy. With a frozen vision tower its features are computed now, once."""
    unbounded = replace(policy, settings=replace(policy.settings, max_prompt_tokens=LONG))
    frames = np.zeros((2, SIDE, SIDE, 3), dtype=np.uint8)
    view = View(frames=frames, times=np.array([0.0, 1.0]), paired=True)
    question = Question(sample_id="filler", video="", question="", answer="A", problem_type="free-form")
    encoded = encode_groups(unbounded, [Group(question=question, views=(view,))])
    answer = Completion(ids=(policy.pad_id,) * 2, logprobs=(0.0, 0.0), text="", finished=True)
    return Lesson(
        sample_id=question.sample_id,
        prompts=encoded.prompts[0],
        responses=((answer,),),
        advantages=np.zeros(1),
    )
