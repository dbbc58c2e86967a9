"""What differs between models, one file a family: see `strive_rl.policy.policy.Architecture`."""

from strive_rl.policy.architectures.qwen2_5_vl import Qwen25VL
from strive_rl.policy.architectures.qwen3_vl import Qwen3VL, Qwen3VLMoe, Qwen35, Qwen35Moe
from strive_rl.policy.policy import Architecture

ARCHITECTURES: dict[str, Architecture] = {
    "qwen2_5_vl": Qwen25VL(),
    "qwen3_vl": Qwen3VL(),
    "qwen3_vl_moe": Qwen3VLMoe(),
    "qwen3_5": Qwen35(),
    "qwen3_5_moe": Qwen35Moe(),
}

__all__ = ["ARCHITECTURES"]
