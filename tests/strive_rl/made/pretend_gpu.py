"""A pretended GPU: tensors of the CPU that are marked as its own, under PyTorch's rules for a device.

Inside of `PretendGpu` everything that is put on "cuda" is marked there, by its storage. What a real GPU
refuses is refused: tensors of two devices in one operation, a host's read of a tensor's memory, and, while a
graph is captured, whatever waits for the device. What is captured is not computed then; a replay computes it
into the same memory, as CUDA does. `waits` counts what makes the host wait for the device, by where it is.

The flash kernels of a GPU are matrix products in float32 here. Sizes, speed, streams and the memory that a
graph may lose are not pretended.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
ROOT = Path(__file__).parents[3]

# The result of these depends on the values: the host waits for them. (And an index by a mask.)
WAITING = {
    aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.equal.default,
    aten.bincount.default, aten._unique2.default, aten.unique_dim.default, aten.unique_consecutive.default,
}  # fmt: skip
# Operands of these may be on the CPU: they are copied.
CROSSING = (aten.copy_.default, aten.index.Tensor, aten.index_put_.default)
FROM_DATA = {torch.tensor, torch.as_tensor, Tensor.new_tensor}
READS = {Tensor.tolist, Tensor.numpy, Tensor.__array__}
HOST_ONLY = {Tensor.numpy, Tensor.__array__}


def _flash(
    query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0, causal: bool = False,
    debug: bool = False, *, scale: float,
) -> tuple[Any, ...]:  # fmt: skip
    assert query.dtype in (torch.float16, torch.bfloat16)
    assert query.shape[-1] % 8 == 0
    scores, (_, v) = _scores(query, key, value, causal, scale)
    lse = scores.logsumexp(-1)
    out = torch.empty_like(query).copy_((scores - lse[..., None]).exp() @ v)
    nothing = torch.zeros(2, dtype=torch.uint64)
    return out, lse, None, None, query.shape[2], key.shape[2], nothing, nothing[0], query.new_empty(0)


def _flash_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, lse: Tensor, cum_q: Any,
    cum_k: Any, max_q: int, max_k: int, dropout: float, causal: bool, seed: Tensor, offset: Tensor, *,
    scale: float,
) -> tuple[Tensor, ...]:  # fmt: skip
    assert lse.is_contiguous()
    assert (max_q, max_k) == (query.shape[2], key.shape[2])
    scores, (k, v) = _scores(query, key, value, causal, scale)
    probabilities = (scores - lse[..., None]).exp()
    delta = (grad.float() * out.float()).sum(-1, keepdim=True)
    grad_scores = probabilities * (grad.float() @ v.mT - delta) * scale
    made = grad_scores @ k, grad_scores.mT @ query.float(), probabilities.mT @ grad.float()
    heads = key.shape[1]
    return made[0].to(query.dtype), *(
        each.unflatten(1, (heads, -1)).sum(2).to(query.dtype) for each in made[1:]
    )


def _scores(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    times = query.shape[1] // key.shape[1]
    k, v = key.float().repeat_interleave(times, 1), value.float().repeat_interleave(times, 1)
    scores = query.float() @ k.mT * scale
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
    return scores, (k, v)


def _bmm(first: Tensor, second: Tensor, out_dtype: torch.dtype) -> Tensor:
    return torch.bmm(first.to(out_dtype), second.to(out_dtype))


def _histogram(values: Tensor, bins: int, least: int, most: int) -> Tensor:
    return torch.histc(values.float(), bins, least, most).to(values.dtype)


# Kernels that only a GPU has.
KERNELS: dict[Any, Callable[..., Any]] = {
    aten._scaled_dot_product_flash_attention.default: _flash,
    aten._scaled_dot_product_flash_attention_backward.default: _flash_backward,
    aten.bmm.dtype: _bmm,
    aten.histc.default: _histogram,
}


class PretendGpu:
    """The context in which there is one GPU; what is marked as its own stays so in later contexts."""

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        self.kernels = 0
        self.capture: Graph | None = None
        self.graphs: list[Graph] = []
        self.called = False
        self._marks: dict[int, tuple[StorageWeakRef, torch.device | None]] = {}
        self._pinned: dict[int, StorageWeakRef] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        for name, value in self._cuda().items():
            self._stack.enter_context(mock.patch(f"torch.{name}", value))
        # Its check of what is recomputed would compare devices as seen with and without these contexts.
        alike = {"default": lambda tensor: (tensor.shape, tensor.dtype)}
        self._stack.enter_context(
            mock.patch.dict("torch.utils.checkpoint._allowed_determinism_checks_to_fns", alike)
        )
        self._stack.enter_context(_Operations(self))
        self._stack.enter_context(_Functions(self))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    def _cuda(self) -> dict[str, Any]:
        """What of `torch.cuda` is replaced."""
        return {
            "cuda.is_available": lambda: True,
            "cuda.is_initialized": lambda: True,
            "cuda.device_count": lambda: 1,
            "cuda.current_device": lambda: 0,
            "cuda.get_device_capability": lambda device=None: (9, 0),
            "cuda.is_current_stream_capturing": lambda: self.capture is not None,
            "cuda.synchronize": lambda device=None: self.wait("synchronize"),
            "cuda.max_memory_allocated": lambda device=None: 0,
            "cuda.max_memory_reserved": lambda device=None: 0,
            "cuda.CUDAGraph": lambda: Graph(self),
            "cuda.graph": lambda graph, capture_error_mode: graph,
            "Tensor.pin_memory": lambda tensor: self.pin(tensor),
            "accelerator.current_stream": lambda device=None: mock.Mock(is_capturing=lambda: False),
        }

    def device(self, tensor: Tensor) -> torch.device | None:
        """Where a tensor is; None for one that takes the device of what it is used with."""
        mark = self._marks.get(tensor.untyped_storage()._cdata)
        if mark is None or mark[0].expired():
            return tensor.device
        return mark[1]

    def put(self, tensor: Tensor, device: torch.device | None) -> None:
        """Mark a tensor's storage."""
        storage = tensor.untyped_storage()
        device = GPU if device and device.type == "cuda" else device
        if device == CPU:
            self._marks.pop(storage._cdata, None)
        else:
            self._marks[storage._cdata] = StorageWeakRef(storage), device

    def pin(self, tensor: Tensor) -> Tensor:
        """A copy in memory that a device reads by itself; threads call it too, which no mode watches."""
        made = tensor.clone()
        self._pinned[made.untyped_storage()._cdata] = StorageWeakRef(made.untyped_storage())
        return made

    def waits_for(self, source: Tensor, *, non_blocking: bool) -> bool:
        """Whether the host waits for a copy of this tensor; for one in pinned memory it need not."""
        pinned = self._pinned.get(source.untyped_storage()._cdata)
        return not non_blocking or pinned is None or pinned.expired()

    def wait(self, what: str) -> None:
        """The host waits for the device."""
        if self.capture:
            raise RuntimeError(f"{what} at {_place()}: operation not permitted when stream is capturing")
        self.waits[f"{what} at {_place()}"] += 1


class _Functions(TorchFunctionMode):
    """What Python asks of tensors: where they are, to be moved, to be made on a device."""

    def __init__(self, gpu: PretendGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        own = args[0] if args and isinstance(args[0], Tensor) else None
        if func == Tensor.device.__get__:  # type: ignore[attr-defined]
            return self.gpu.device(own) or GPU
        if func == Tensor.is_cuda.__get__:  # type: ignore[attr-defined]
            return self.gpu.device(own) == GPU
        if func is Tensor.backward:
            with self:
                return _run_backward(own)
        if own is not None and func in READS and self.gpu.device(own) == GPU:
            if func in HOST_ONLY:
                raise TypeError("can't convert cuda:0 device type tensor to numpy")
            self.gpu.wait("tolist")
        if func is Tensor.cpu:
            return self._moved(own, CPU, Tensor.to, (own, CPU), options)
        if func is Tensor.cuda:
            return self._moved(own, GPU, Tensor.to, (own, CPU), {})
        if func is Tensor.to:
            device = _target(args[1:], options, self.gpu)
            return self._moved(own, device, func, *_without_device(args, options))
        return self._made(func, args, options)

    def _made(self, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The result of an operation that makes tensors, perhaps on a device that it names."""
        wanted = options.get("device", self.gpu.device(args[0]) if func is Tensor.new_tensor else None)
        on_gpu = wanted is not None and torch.device(wanted).type == "cuda"
        if "device" in options and on_gpu:
            options["device"] = CPU
        before, self.gpu.called = self.gpu.called, True
        try:
            made = func(*args, **options)
        finally:
            self.gpu.called = before
        if on_gpu and isinstance(made, Tensor):
            if func in FROM_DATA:
                self.gpu.wait("copy from the host")
            self.gpu.put(made, GPU)
        return made

    def _moved(
        self, own: Any, device: torch.device | None, func: Any, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        here = self.gpu.device(own)
        if device is None or here is None or device.type == here.type or "meta" in (device.type, here.type):
            return self._made(func, args, options)
        if self.gpu.capture or self.gpu.waits_for(own, non_blocking=options.get("non_blocking", False)):
            self.gpu.wait(f"copy to {device.type}")
        # A fresh storage, even where nothing is converted.
        made = self._made(func, args, options | {"copy": True})
        self.gpu.put(made, device)
        return made


class _Operations(TorchDispatchMode):
    """Every operation, those of a backward pass too."""

    def __init__(self, gpu: PretendGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        with torch._C.DisableTorchFunction():
            return self._run(func, args, kwargs or {})

    def _run(self, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        gpu = self.gpu
        tensors = [each for each in tree_leaves((args, options)) if isinstance(each, Tensor)]
        devices = [gpu.device(each) for each in tensors]
        if GPU not in devices:
            made = func(*args, **options)
            # Zeros that a backward pass makes by itself are wherever they are needed.
            if not tensors and not gpu.called and isinstance(made, Tensor):
                gpu.put(made, None)
            return made
        self._require_one_device(func, tensors, devices)
        if func in WAITING or (func in (aten.index.Tensor, aten.index_put_.default) and _by_mask(args[1])):
            gpu.wait(str(func))
        return self._computed(func, args, options, tensors)

    def _require_one_device(
        self, func: Any, tensors: list[Tensor], devices: list[torch.device | None]
    ) -> None:
        pairs = list(zip(tensors, devices, strict=True))
        # Of one number an operation takes the value.
        wrong = [each for each, device in pairs if device == CPU and each.ndim and func not in CROSSING]
        if wrong:
            shapes = ", ".join(str(tuple(each.shape)) for each in wrong)
            raise RuntimeError(
                f"{func}: expected all tensors on cuda:0, found on cpu: {shapes}, at {_place()}"
            )
        if CPU in devices and func in CROSSING:
            self.gpu.wait(f"{func} with the CPU")

    def _computed(
        self, func: Any, args: tuple[Any, ...], options: dict[str, Any], tensors: list[Tensor]
    ) -> Any:
        gpu, schema = self.gpu, func._schema
        written = [
            value
            for value, of in zip(args, schema.arguments, strict=False)
            if of.alias_info and of.alias_info.is_write and isinstance(value, Tensor)
        ] + [
            options[of.name]
            for of in schema.arguments
            if of.kwarg_only and of.alias_info and of.name in options
        ]
        if gpu.capture:
            gpu.capture.save(written)
        run = KERNELS.get(func, func)
        made = run(*args, **options)
        known = {each.untyped_storage()._cdata for each in tensors}
        fresh = [
            each
            for each in tree_leaves(made)
            if isinstance(each, Tensor) and each.untyped_storage()._cdata not in known
        ]
        for each in [*fresh, *written]:
            gpu.put(each, GPU)
        if fresh or written:
            gpu.kernels += 1
            if gpu.capture:
                gpu.capture.calls.append((run, args, options, fresh, known))
        return made


class Graph:
    """A captured graph: the operations of its context, on the tensors that they had there."""

    def __init__(self, gpu: PretendGpu) -> None:
        self.gpu, self.replays = gpu, 0
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor], set[int]]] = []
        self._saved: dict[int, tuple[Tensor, Tensor]] = {}

    def __enter__(self) -> None:
        self.gpu.capture = self
        self.gpu.graphs.append(self)

    def __exit__(self, *error: Any) -> None:
        self.gpu.capture = None
        with _alone():
            for whole, before in self._saved.values():
                whole.copy_(before)
        self._saved.clear()

    def save(self, tensors: list[Tensor]) -> None:
        """Keep what a capture writes over: it must not change anything."""
        for each in tensors:
            storage = each.untyped_storage()
            if storage._cdata not in self._saved:
                whole = torch.empty(0, dtype=torch.uint8).set_(storage)
                self._saved[storage._cdata] = whole, whole.clone()

    def replay(self) -> None:
        """Compute everything into the memory of the capture."""
        self.replays += 1
        with _alone():
            for run, args, options, fresh, known in self.calls:
                made = run(*args, **options)
                again = [
                    each
                    for each in tree_leaves(made)
                    if isinstance(each, Tensor) and each.untyped_storage()._cdata not in known
                ]
                for old, new in zip(fresh, again, strict=True):
                    old.copy_(new)


@contextmanager
def _alone() -> Iterator[None]:
    """Without what watches operations."""
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch(), torch.no_grad():
        yield


def _run_backward(loss: Tensor) -> None:
    torch.autograd.Variable._execution_engine.run_backward(
        (loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True
    )


def _by_mask(indices: Any) -> bool:
    return any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in indices)


def _target(args: tuple[Any, ...], options: dict[str, Any], gpu: PretendGpu) -> torch.device | None:
    """The device that `Tensor.to` is asked for."""
    named = [*args[:1], *(options[name] for name in ("device", "other") if name in options)]
    for each in named:
        if isinstance(each, Tensor):
            return gpu.device(each) or GPU
        if isinstance(each, (str, int, torch.device)):
            return torch.device(each)
    return None


def _without_device(args: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same with the CPU in place of a GPU."""

    def local(value: Any) -> Any:
        named = isinstance(value, (str, int, torch.device)) and not isinstance(value, bool)
        return CPU if named and torch.device(value).type == "cuda" else value

    named = {name: local(value) if name == "device" else value for name, value in options.items()}
    return (args[0], *map(local, args[1:2]), *args[2:]), named


def _place() -> str:
    """The innermost line of this package that is running."""
    frame = sys._getframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT / "strive_rl"):
            return f"{path.relative_to(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"
