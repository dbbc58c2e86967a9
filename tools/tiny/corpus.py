"""Texts from which the small tokenizers learn their words: the questions of the world and plain prompts."""

from __future__ import annotations

from itertools import product

from strive_data.demo.world import COLOURS, SHAPES, TEMPLATES

INSTRUCTIONS = """
Watch the video and answer the question about it. Look at the frames first, then reason step by step
and write your thoughts between <think> and </think>. After that give only the final answer between
<answer> and </answer>. Options: the answer is the letter of the right option, a number, a short
text, the words that can be read in the video, or a value. Question: Think about what you have seen:
there is a video of several objects; the shape of the object and the colour of the object are what
the question asks for. For example, write: I see it.
"""


def question_texts() -> list[str]:
    """Every question that the world can ask, and options in the layout of the annotation."""
    asked = [
        text.format(colour=colour, shape=shape)
        for (texts, colour, shape) in product(TEMPLATES.values(), COLOURS, SHAPES)
        for text in texts
    ]
    options = [f"{letter}. {name}" for letter in "ABCDEF" for name in (*COLOURS, *SHAPES)]
    return asked + options + [INSTRUCTIONS]
