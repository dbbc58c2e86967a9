"""What the official rules share: the text that they are applied to.

The authors' code knows no answer form: it expects an answer and nothing else. An output in the form that
this project trains (`<think>…</think><answer>…</answer>`) is therefore read from its `<answer>`; any other
output is read as it is, end tokens aside.
"""

from __future__ import annotations

from strive_rl.benchmarks.parsing import END_TOKENS, final_text

UNCHECKED = (
    "The official rule follows the authors' code. It was not checked against published outputs and totals."
)
FORM_TAGS = ("<answer>", "<think>", "</think>")


def bare_output(output: str) -> str:
    """The output without end tokens, not stripped; the content of `<answer>` where it has the answer form."""
    if any(tag in output for tag in FORM_TAGS):
        return final_text(output)
    for token in END_TOKENS:
        output = output.replace(token, "")
    return output
