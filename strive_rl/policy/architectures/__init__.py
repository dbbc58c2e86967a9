"""What differs between models, one file a family: see `strive_rl.policy.policy.Architecture`."""

from transformers import (
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeForConditionalGeneration,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeForConditionalGeneration,
)

from strive_rl.policy.architectures.qwen_vl import Qwen3VL, Qwen25VL
from strive_rl.policy.policy import Architecture

ARCHITECTURES: dict[str, Architecture] = {
    "qwen2_5_vl": Qwen25VL(),
    "qwen3_vl": Qwen3VL(Qwen3VLForConditionalGeneration),
    "qwen3_vl_moe": Qwen3VL(Qwen3VLMoeForConditionalGeneration),
    "qwen3_5": Qwen3VL(Qwen3_5ForConditionalGeneration),
    "qwen3_5_moe": Qwen3VL(Qwen3_5MoeForConditionalGeneration),
}
