"""CUDA without a GPU: what the project would do to a card, learnt on the CPU.

``on_card`` runs a function in a process of its own that has such a card. Two parts make it:

1. ``cudart.c``, compiled when first needed and preloaded in front of libcudart. torch (its ordinary CUDA wheel) then sees a GPU of compute
   capability 8.0. Device memory is host memory, copies are memcpy, streams and events do nothing. So allocation, the caching
   allocator and its statistics, device guards, the autograd engine's threads, the choice of an attention kernel and the default
   paths of optimisers are torch's own. A kernel launch is refused: nothing that was not carried out can pass for a result.
2. ``device.Card``, a dispatch mode below autograd. It takes every operator that has a CUDA tensor, runs the CPU's kernel over the same
   memory and puts the result into new device memory. In half precision what a GPU computes in float32 is computed in float32.

It finds tensors of two devices in one operator, a generator of another device than its tensor, operators and dtypes without a
kernel, ``numpy()`` of a device tensor, and too little memory for any size of card. It counts, by the line that caused it, waits for the
device, copies, float64, and operators whose sums have no fixed order.

Dry, nothing is computed: operators run on shapes, device memory is reserved and never touched. A program of any size takes seconds, and
the allocator tells its peak, less the workspaces of cuDNN and cuBLAS. Pictures are then black, a loss is 1, and all is finite.

It cannot find a fault within a CUDA kernel, and says nothing of speed.
"""

from bench.benchmarks.emulated.process import on_card, unavailable

__all__ = ["on_card", "unavailable"]
