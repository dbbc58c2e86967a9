"""What the bits of a CLIP frame embedding depend on, as one hash: the key of kept embeddings."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from importlib.metadata import version

import torch

from strive_data.score.load_clip import ClipModel

LIBRARIES = ("torch", "torchvision", "open-clip-torch", "pillow")


def identity_of(clip: ClipModel, *, batch_size: int) -> str:
    """Hash of the model's weights, its transform, the precision, the batch size, device and libraries."""
    about = {
        "weights": weights_sha256(clip.model),
        # Functions within a transform print their address.
        "transform": re.sub(r" at 0x[0-9a-f]+", "", repr(clip.transform)),
        "model": clip.name,
        "dtype": str(clip.dtype),
        "batch_size": batch_size,
        "device": _device_name(clip.device),
        "libraries": {name: version(name) for name in LIBRARIES},
    }
    return sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def weights_sha256(model: torch.nn.Module) -> str:
    """Hash of the names, types, shapes and values of all weights."""
    digest = sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"
