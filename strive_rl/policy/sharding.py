"""A policy laid over several processes by FSDP2: each holds a slice of every weight.

Units that are put together for a pass: each vision block, the rest of the tower, each decoder layer, the rest
of the model (embeddings, last norm, head). Gradients are summed over the processes in float32, and not
averaged, because a pass's loss is already its share of the whole (`strive_rl.algorithm.loss`).

FSDP2 wants the parts of a model called inside one forward pass of the whole. The policy calls them by
themselves, so every stage that calls the model does it inside `Policy.fsdp_forward`, which is such a pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

from strive_rl.common import distributed
from strive_rl.policy.policy import THROUGH, WHOLE


def shard(model: Any, device: torch.device) -> None:
    """Lay a model, whose weights the first process holds, over all processes, in place: `load_policy` with
    `to_shard`. Parameters become DTensors, so an optimizer is made after this. With one process nothing is
    done."""
    if distributed.world_size() == 1:
        return
    mesh = init_device_mesh(device.type, (distributed.world_size(),))
    precision = MixedPrecisionPolicy(reduce_dtype=torch.float32, cast_forward_inputs=False)
    weights = model.state_dict() if distributed.is_first() else {}
    body = model.model
    for unit in (*body.visual.blocks, body.visual, *body.language_model.layers, model):
        fully_shard(unit, mesh=mesh, mp_policy=precision)
        unit.set_gradient_divide_factor(1.0)
        # Else FSDP2 asks for a scaled sum, which gloo does not have.
        unit.set_force_sum_reduction_for_comms(True)
    if not distributed.is_first():
        model.to_empty(device=device)
        model.tie_weights()
    set_model_state_dict(
        model, weights, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    )
    for buffer in model.buffers():  # Those of positions are in no state_dict.
        dist.broadcast(buffer, 0)
    setattr(model, THROUGH, MethodType(lambda model, work: work(), model))
    register_fsdp_forward_method(model, THROUGH)


@contextmanager
def unsharded(model: Any) -> Iterator[None]:
    """Hold all weights of a model on each process in this context, for passes without gradients, of which
    processes take different numbers: none waits for another process. All must enter and leave it."""
    units = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for unit in units:
        unit.unshard()
        unit.set_reshard_after_forward(False, recurse=False)
    setattr(model, WHOLE, True)
    try:
        yield
    finally:
        setattr(model, WHOLE, False)
        for unit in units:
            unit.reshard()
            unit.set_reshard_after_forward(unit is not model, recurse=False)
