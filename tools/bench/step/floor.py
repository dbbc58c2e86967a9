"""The bare matrix products of a step at their own shapes: what no exact implementation of it can leave out.

Linear layers: of the tower over each distinct frame pair, of the language model over each prompt once, over
one token a completion in each decode step, and three times (forward, and the gradients of states and weights)
over prompts and completions in the update; in the last layer keys and values alone for columns of prompts.
Attention: both products of each, with nothing masked away. Neither norms, activations, drawing of tokens, nor
the optimizer are in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tools.bench.step.task import Task

Size = tuple[int, int]


def floor(model: Any, task: Task, prompt: int) -> None:
    """Compute these products, of zeros."""
    text, vision = model.config.text_config, model.config.vision_config
    prompts, rows = task.questions * task.variants, task.rollouts
    body, last, head = _linear(model)
    patches = task.frames // vision.temporal_patch_size * (task.side // vision.patch_size) ** 2
    tower = [_size(each) for each in model.model.visual.modules() if isinstance(each, torch.nn.Linear)]
    merge = vision.spatial_merge_size**2
    for size in tower:
        # The merger's layers read merged patches, which are as wide as several.
        columns = prompts * patches // (merge if size[1] == merge * vision.hidden_size else 1)
        _products(columns, [size])
    # Prompts: all layers but the last, of which only keys and values.
    _products(prompts * prompt, body)
    _products(prompts * prompt, last[1:3])
    heads, width = text.num_attention_heads, _head_width(text)
    for _ in range(text.num_hidden_layers - 1):
        _attention(prompts * heads, prompt, prompt, width)
    for step in range(1, task.tokens):
        _products(rows, [*body, *last, *head])
        for _ in range(text.num_hidden_layers):
            _attention(prompts * heads, task.completions, prompt, width)
            _attention(rows * heads, 1, step, width)
    update_products(model, task, prompt)


def update_products(model: Any, task: Task, prompt: int, passes: int = 3) -> None:
    """Those of the update alone; `passes` 2 leaves out the gradients of weights."""
    text = model.config.text_config
    body, last, head = _linear(model)
    prompts, rows = task.questions * task.variants, task.rollouts
    heads, width, behind = text.num_attention_heads, _head_width(text), rows * (task.tokens - 1)
    for _ in range(passes):
        _products(prompts * prompt + behind, [*body, *last[1:3]])
        _products(behind + prompts, [last[0], *last[3:]])
        _products(behind + rows, head)
    # Forward two products, backward five.
    for times in (1.0, 2.5):
        for _ in range(text.num_hidden_layers):
            _attention(prompts * heads, prompt, prompt, width, times)
            _attention(prompts * heads, task.completions * (task.tokens - 1), prompt, width, times)
            _attention(rows * heads, task.tokens - 1, task.tokens - 1, width, times)


def _linear(model: Any) -> tuple[list[Size], list[Size], list[Size]]:
    """Sizes of the linear layers: all decoder layers but the last; the last, q, k, v first; the head."""
    layers = model.model.language_model.layers
    by_layer = [[_size(m) for m in layer.modules() if isinstance(m, torch.nn.Linear)] for layer in layers]
    return [size for sizes in by_layer[:-1] for size in sizes], by_layer[-1], [_size(model.lm_head)]


def _size(linear: torch.nn.Linear) -> Size:
    return linear.out_features, linear.in_features


def _head_width(text: Any) -> int:
    return int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)


def _products(columns: int, sizes: Sequence[Size]) -> None:
    for wide, narrow in sizes:
        torch.mm(torch.zeros(columns, narrow), torch.zeros(narrow, wide))


def _attention(batch: int, queries: int, keys: int, width: int, times: float = 1.0) -> None:
    """Scores and weighted values, `times` over."""
    query = torch.zeros(batch, max(1, round(queries * times)), width)
    scores = torch.bmm(query, torch.zeros(batch, width, keys))
    torch.bmm(scores, torch.zeros(batch, keys, width))
