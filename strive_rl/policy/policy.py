"""A loaded policy. Every call into its model goes through the four methods at the end of `Policy`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from transformers import DynamicCache

from strive_rl.config import PolicySettings
from strive_rl.policy.architecture import Architecture, Grid
from strive_rl.schema import VideoFeatures

T = TypeVar("T")

# The method of a sharded model that is a forward pass of the whole (`sharding`).
THROUGH = "strive_through"


@dataclass(frozen=True, kw_only=True, eq=False)
class Policy:
    """A loaded model with its processor.

    `suppressed` bool [V] marks the ids that are never sampled: vision tokens, which would break the next
    forward pass (DESIGN.md 7.5), and ids beyond the tokenizer, which decode to nothing; `end_ids` end one.
    """

    model: Any
    processor: Any
    architecture: Architecture
    settings: PolicySettings
    device: torch.device
    suppressed: torch.Tensor
    end_ids: tuple[int, ...]
    pad_id: int
    name: str

    @property
    def tokenizer(self) -> Any:
        """Tokenizer of the processor."""
        return self.processor.tokenizer

    def trainable(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Names and parameters that the optimizer moves."""
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]

    def fsdp_forward(self, work: Callable[[], T]) -> T:
        """Do work that calls the model, as one forward pass where the model is laid over several processes.

        Whatever stage calls the methods below does it in here, once.
        """
        run: Callable[[Callable[[], T]], T] | None = getattr(self.model, THROUGH, None)
        return run(work) if run else work()

    def encode_vision(self, pixels: torch.Tensor, grids: Sequence[Grid]) -> list[VideoFeatures]:
        """Vision features of each clip, by one call of the tower."""
        return self.architecture.features(self.model.model, pixels.to(self.device), grids)

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Input embeddings [..., D] of token ids."""
        embeddings: torch.Tensor = self.model.model.language_model.embed_tokens(ids)
        return embeddings

    def forward(
        self,
        inputs: Mapping[str, Any],
        positions_3RN: torch.Tensor,
        *,
        mask: torch.Tensor | None = None,
        cache: DynamicCache | None = None,
        prompt_columns: int | None = None,
    ) -> torch.Tensor:
        """Hidden states [R, N, D] of the language model after `inputs`, its embeddings among them.

        Without a mask every column sees those before it; `mask` and `prompt_columns` as in `attention`.
        """
        output = self.model.model.language_model(
            **inputs,
            position_ids=positions_3RN,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
            prompt_columns=prompt_columns,
        )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Raw logits float32 [..., V] after hidden states."""
        made: torch.Tensor = self.model.lm_head(hidden).float()
        return made

    def new_cache(self) -> DynamicCache:
        """An empty cache for `read`."""
        return DynamicCache(config=self.model.model.language_model.config)
