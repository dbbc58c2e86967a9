"""Where the answer of a benchmark's output is, which option it names and which number.

Outputs need not follow any form. Total functions: any text gives an answer, or None where it is absent,
empty or ambiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from strive_rl.answers.accuracy import outside_thoughts, read_number
from strive_rl.answers.choice import read_choice

END_TOKENS = ("</s>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<eos>")


def final_text(output: str) -> str:
    """The part of an output in which its final answer is, stripped; "" where it never got that far.

    The last `<answer>` outside of a thought, closed or at the very end (a stop string eats the closing tag);
    else all that is outside of a thought.
    """
    text = output
    for token in END_TOKENS:
        text = text.replace(token, "")
    text = outside_thoughts(text)
    _, opened, rest = text.rpartition("<answer>")
    return rest.partition("</answer>")[0].strip() if opened else text.strip()


def choice(output: str, options: Sequence[str]) -> str | None:
    """Letter of the one option ("A. text") that an output settles on."""
    return read_choice(final_text(output), options)


def one_number(output: str) -> Fraction | None:
    """The one number that an output settles on, units aside."""
    return read_number(final_text(output))
