"""The text of a question as the policy reads it. Own words: the paper's prompts are not known here."""

from __future__ import annotations

from strive_data.schema import ProblemType, Question
from strive_rl.schema import Wording

THINK = (
    "First reason about what the video shows inside <think></think>. "
    "Then write only the final answer inside <answer></answer>."
)

DIRECT = "Answer at once, without reasoning."

ANSWER_FORM: dict[ProblemType, str] = {
    "multiple choice": "The final answer is the letter of one option and nothing else.",
    "numerical": "The final answer is one number and nothing else.",
    "regression": "The final answer is one number and nothing else.",
    "OCR": "The final answer is the text exactly as it is written in the video.",
    "free-form": "The final answer is a short text.",
}


USUAL = Wording()


def user_text(question: Question, wording: Wording = USUAL) -> str:
    """Question, options (one a line, where there are any), how to answer, and the form of the answer.

    The text is a fixed function of the question; nothing of the true answer or its evidence enters it.
    """
    lines = [question.question.strip(), *(option.strip() for option in question.options)]
    form = wording.form or ANSWER_FORM[question.problem_type]
    return "\n".join([*lines, THINK if wording.reason else DIRECT, form])
