"""What is known of torch's operators on CUDA, by name."""

from __future__ import annotations

import torch

aten = torch.ops.aten

NATIVE = frozenset(
    {
        aten.empty.memory_format,
        aten.empty_strided.default,
        aten.new_empty.default,
        aten.new_empty_strided.default,
        aten.empty_like.default,
        aten._unsafe_view.default,
        aten.set_.source_Tensor,
        aten.set_.source_Storage_storage_offset,
        aten.set_.source_Storage,
        aten.resize_.default,
        aten.is_same_size.default,
        aten.record_stream.default,
        aten._pin_memory.default,
        aten.is_pinned.default,
        aten.lift_fresh.default,
    }
)
"""Operators that touch no value, which torch's own device code carries out."""

MIXED = frozenset(
    [
        "copy_",
        "_to_copy",
        "index",
        "index_put_",
        "index_put",
        "_index_put_impl_",
        "_unsafe_index",
        "_unsafe_index_put",
        "_copy_from",
        "_foreach_copy_",
    ]
)
"""Operators that take tensors of both devices."""

NO_CPU_SCALARS = frozenset(
    [
        "cat",
        "stack",
        "mm",
        "addmm",
        "bmm",
        "baddbmm",
        "convolution",
        "embedding",
        "index_select",
        "gather",
        "scatter",
        "native_group_norm",
        "native_layer_norm",
        "repeat_interleave",
        "grid_sampler_2d",
    ]
)
"""Operators that do not even take a CPU tensor without dimensions."""

IN_FLOAT32 = frozenset(
    [
        "mm",
        "addmm",
        "bmm",
        "baddbmm",
        "convolution",
        "convolution_backward",
        "native_group_norm",
        "native_layer_norm",
        "_softmax",
        "upsample_nearest2d",
        "gelu",
        "silu",
        "_upsample_bilinear2d_aa",
        "_upsample_bicubic2d_aa",
        "cudnn_batch_norm",
        "native_batch_norm",
        "grid_sampler_2d",
        "_safe_softmax",
        "native_group_norm_backward",
        "native_layer_norm_backward",
        "upsample_nearest2d_backward",
        "silu_backward",
        "gelu_backward",
        "_softmax_backward_data",
    ]
)
"""Operators that a GPU computes in float32 where its tensors are half precision, rounding the result alone."""

NO_FIXED_ORDER = frozenset(
    [
        "_adaptive_avg_pool2d_backward",
        "adaptive_max_pool2d_backward",
        "upsample_bilinear2d_backward",
        "upsample_bicubic2d_backward",
        "upsample_linear1d_backward",
        "upsample_trilinear3d_backward",
        "_upsample_bilinear2d_aa_backward",
        "_upsample_bicubic2d_aa_backward",
        "grid_sampler_2d_backward",
        "reflection_pad2d_backward",
        "reflection_pad1d_backward",
        "replication_pad2d_backward",
        "avg_pool3d_backward",
        "histc",
        "bincount",
        "nll_loss2d_forward",
        "put_",
        "median",
    ]
)
"""Operators that have no deterministic kernel on CUDA: an error where torch is asked for one, but for ``warn_only``."""

FIXED_WHERE_STRICT = frozenset(
    ["_scaled_dot_product_efficient_attention_backward", "_scaled_dot_product_flash_attention_backward"]
)
"""Operators whose deterministic kernel is taken in strict mode alone: with ``warn_only`` torch says so and takes the other."""

NEVER_WHERE_STRICT = frozenset({"_scaled_dot_product_cudnn_attention_backward"})
"""What torch does not choose in strict mode."""

WAITS = frozenset(
    [
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "equal",
        "is_nonzero",
        "_linalg_check_errors",
    ]
)
"""Operators whose caller waits for the device."""

RANDOM = frozenset(
    [
        "normal_",
        "uniform_",
        "randn",
        "rand",
        "randint",
        "randperm",
        "bernoulli_",
        "bernoulli",
        "native_dropout",
        "multinomial",
        "normal",
        "random_",
        "exponential_",
        "randn_like",
        "rand_like",
        "randint_like",
    ]
)
"""Operators that draw from a generator, the device's global one where none is given."""
