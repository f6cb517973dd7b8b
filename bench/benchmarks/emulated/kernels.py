"""How the card carries out an operator: the CPU's kernel over device memory, or, dry, the form of its result alone."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.benchmarks.emulated.operators import IN_FLOAT32, aten

__all__ = ["Call", "attention", "computed", "form_only", "leaves", "on_cuda"]

HALVES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, eq=False)
class Call:
    """An operator that was asked for, and the device of its result."""

    func: Any
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    target: torch.device

    @property
    def bound(self) -> dict[str, Any]:
        """The arguments by name."""
        names = (argument.name for argument in self.func._schema.arguments)
        return dict(zip(names, self.args, strict=False)) | self.kwargs


def leaves(x: Any) -> Iterator[Any]:
    """What stands in arguments and results of operators: torch's own trees know more kinds, and take as long as a small kernel."""
    if isinstance(x, (tuple, list)):
        for each in x:
            yield from leaves(each)
    elif isinstance(x, dict):
        yield from leaves(tuple(x.values()))
    else:
        yield x


def _mapped(work: Callable[[Any], Any], x: Any) -> Any:
    """The same with ``work`` done on each of the leaves."""
    if isinstance(x, (tuple, list)):
        return type(x)([_mapped(work, each) for each in x])
    if isinstance(x, dict):
        return {key: _mapped(work, each) for key, each in x.items()}
    return work(x)


def on_cuda(x: Any) -> bool:
    """Whether ``x`` is a tensor on the card."""
    return isinstance(x, Tensor) and x.device.type == "cuda"


def _host(t: Tensor) -> Tensor:
    """A CPU tensor over the memory of a CUDA tensor."""
    storage = t.untyped_storage()
    size = storage.nbytes()
    if size == 0:
        return torch.empty_strided(t.size(), t.stride(), dtype=t.dtype)
    buffer = (ctypes.c_char * size).from_address(storage.data_ptr())
    flat = torch.frombuffer(buffer, dtype=t.dtype, count=size // t.element_size())
    return flat.as_strided(t.size(), t.stride(), t.storage_offset())


def _to_device(t: Tensor, device: torch.device) -> Tensor:
    """A CPU result in new device memory, with its strides."""
    if _overlaps(t):
        t = t.contiguous()
    new = torch.empty_strided(t.size(), t.stride(), dtype=t.dtype, device=device)
    if t.numel():
        _host(new).copy_(t)
    return new


def _overlaps(t: Tensor) -> bool:
    return any(stride == 0 and size > 1 for stride, size in zip(t.stride(), t.size(), strict=True))


def _widened(x: Any, low: torch.dtype) -> Any:
    """A tensor of dtype ``low``, or that dtype itself, as softmax's backward pass is told it, in float32; all else as it is."""
    if isinstance(x, Tensor):
        return x.float() if x.dtype == low else x
    return torch.float32 if x is low else x


def _batch_norm(*arguments: Any) -> tuple[Tensor, ...]:
    return (*aten.native_batch_norm.default(*arguments), torch.empty(0, dtype=torch.uint8))


def _rms_norm_backward(  # noqa: PLR0917 (the operator's own arguments)
    gradient: Tensor, x: Tensor, shape: list[int], rstd: Tensor, weight: Tensor | None, wanted: list[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of x / rms(x) * weight over the last dimensions, ``shape``, by x and by the weight; in float32."""
    inner = tuple(range(x.dim() - len(shape), x.dim()))
    unit, outer = x.float() * rstd, tuple(range(x.dim() - len(shape)))
    scaled = gradient.float() if weight is None else gradient.float() * weight.float()
    by_x = rstd * (scaled - unit * (scaled * unit).mean(inner, keepdim=True))
    by_weight = None if weight is None or not wanted[1] else (gradient.float() * unit).sum(outer).to(weight.dtype)
    return by_x.to(x.dtype) if wanted[0] else None, by_weight


CARDS_OWN: Mapping[str, Callable[..., Any]] = {"cudnn_batch_norm": _batch_norm, "_fused_rms_norm_backward": _rms_norm_backward}
"""Operators for which a CPU has no kernel."""


def computed(call: Call) -> Any:
    """The CPU's kernel over device memory."""
    func, name, target = call.func, call.name, call.target
    aliases: dict[int, Tensor] = {}
    given = _mapped(lambda x: aliases.setdefault(id(x), _host(x)) if on_cuda(x) else x, (call.args, call.kwargs))
    dtypes = [x.dtype for x in leaves(given) if isinstance(x, Tensor)]
    low = next((dtype for dtype in dtypes if dtype in HALVES), None)
    statistics = ("native_group_norm_backward", "native_layer_norm_backward")  # theirs are float32 beside halves
    widened = low is not None and name in IN_FLOAT32 and (name in statistics or torch.float32 not in dtypes)
    if widened:
        given = _mapped(lambda x: _widened(x, low), given)
    new_args, new_kwargs = given
    if "device" in new_kwargs:
        new_kwargs["device"] = torch.device("cpu")
    if new_kwargs.get("pin_memory"):
        new_kwargs["pin_memory"] = False
    if name == "_to_copy":
        new_kwargs.pop("non_blocking", None)
    out = CARDS_OWN.get(name, func)(*new_args, **new_kwargs)
    if widened:
        out = _mapped(lambda x: x.to(low) if isinstance(x, Tensor) and x.dtype == torch.float32 else x, out)
    if func._schema.is_mutable:
        return _written(call, out)
    there = {id(x): x for x in leaves((call.args, call.kwargs)) if on_cuda(x)}
    given_back = {alias.untyped_storage().data_ptr(): there[key] for key, alias in aliases.items() if alias.numel()}

    def up(x: Any) -> Any:
        if not isinstance(x, Tensor) or target.type != "cuda":
            return x
        own = given_back.get(x.untyped_storage().data_ptr()) if x.numel() else None
        return _to_device(x, target) if own is None else own.as_strided(x.size(), x.stride(), x.storage_offset())

    return _mapped(up, out)


def _written(call: Call, out: Any) -> Any:
    """What an operator returns that writes to its arguments: those arguments, and what is new beside them on the device."""
    schema = call.func._schema
    if not schema.returns:
        return None
    bound = call.bound
    written = {
        mark: bound.get(a.name)
        for a in schema.arguments
        if a.alias_info is not None and a.alias_info.is_write
        for mark in a.alias_info.before_set
    }
    results = []
    for value, declared in zip(out if isinstance(out, tuple) else (out,), schema.returns, strict=True):
        alias = declared.alias_info
        if alias is not None and alias.is_write:
            results.append(written[next(iter(alias.before_set))])
        else:
            results.append(_mapped(lambda x: _to_device(x, call.target) if isinstance(x, Tensor) else x, value))
    return results[0] if len(results) == 1 else tuple(results)


def form_only(call: Call) -> Any:
    """The form of the result in device memory that nobody touches. Small copies to the device, and masks, are real."""
    name, args, target = call.name, call.args, call.target
    if name in ("_local_scalar_dense", "equal", "is_nonzero"):
        return _answer(call)
    if name in ("copy_", "_to_copy"):
        copied = _copied(call)
        if copied is not None:
            return copied
    if name == "nonzero":
        return torch.empty((0, args[0].dim()), dtype=torch.int64, device=target)
    if call.func._schema.is_mutable:
        return _written(call, (None,) * len(call.func._schema.returns))
    tensors = [x for x in leaves((call.args, call.kwargs)) if isinstance(x, Tensor)]
    masked = name == "index" and any(t.dtype == torch.bool for t in tensors[1:])
    new_args, new_kwargs = _mapped(lambda x: _form(x, masked) if isinstance(x, Tensor) else x, (call.args, call.kwargs))
    if "device" in new_kwargs:
        new_kwargs["device"] = torch.device("meta")
    for key in ("non_blocking", "pin_memory"):
        new_kwargs.pop(key, None)

    def take(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if _overlaps(x):
            return torch.empty(x.size(), dtype=x.dtype, device=target)
        return torch.empty_strided(x.size(), x.stride(), dtype=x.dtype, device=target)

    return _mapped(take, call.func(*new_args, **new_kwargs))


def _answer(call: Call) -> bool | float | int:
    """What the host learns of a tensor without content: all is well, a loss is 1, an index 0."""
    if call.name != "_local_scalar_dense" or call.args[0].dtype == torch.bool:
        return True
    return 1.0 if call.args[0].is_floating_point() else 0


def _copied(call: Call) -> Tensor | None:
    """A copy that the host sees, of zeros or, where it asks whether all is well, of yes; or a small one to the device; None for another."""
    source = call.args[0]
    if call.name == "copy_":
        return None if on_cuda(source) else source.zero_()
    dtype = call.kwargs.get("dtype") or source.dtype
    if call.target.type == "cpu":
        return torch.full(source.size(), dtype == torch.bool, dtype=dtype)
    small = not on_cuda(source) and source.numel() <= 1024
    return _to_device(source.to(dtype), call.target) if small else None


def _form(t: Tensor, masked: bool) -> Tensor:
    """A tensor of the same form without content; of a mask that chooses rows, as many indices as it chooses."""
    if masked and t.dtype == torch.bool:
        return (_host(t) if on_cuda(t) else t).nonzero().flatten().to("meta")
    return torch.empty_strided(t.size(), t.stride(), dtype=t.dtype, device="meta")


def attention(call: Call) -> Any:
    """The fused attention that torch chose, by the CPU's, in float32."""
    bound, target = call.bound, call.target
    efficient = "efficient" in call.name
    query, bias = bound["query"], bound.get("attn_bias")
    causal, scale = bound.get("is_causal", False), bound.get("scale")
    mask = None if bias is None or not bias.numel() else _host(bias).float()
    if not call.name.endswith("_backward"):
        parts = [_host(bound[key]).float() for key in ("query", "key", "value")]
        out, lse = aten._scaled_dot_product_flash_attention_for_cpu(*parts, 0.0, causal, attn_mask=mask, scale=scale)
        result, lse = _to_device(out.to(query.dtype), target), _to_device(lse, target)
        philox = torch.zeros((), dtype=torch.int64)
        if efficient:
            return result, lse, philox, philox
        return result, lse, None, None, query.shape[2], bound["key"].shape[2], philox, philox, torch.empty(0, device=target)
    gradient = bound["grad_out_"] if "grad_out_" in bound else bound["grad_out"]
    parts = [_host(t).float() for t in (gradient, *(bound[key] for key in ("query", "key", "value", "out")))]
    gradients = aten._scaled_dot_product_flash_attention_for_cpu_backward(
        *parts, _host(bound["logsumexp"]), 0.0, causal, attn_mask=mask, scale=scale
    )
    moved = tuple(_to_device(g.to(query.dtype), target) for g in gradients)
    return (*moved, None) if efficient else moved
