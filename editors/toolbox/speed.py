"""What makes a model fast on its device, chosen before the first edit: other kernels, and how many items they take at once."""

from __future__ import annotations

import torch

from editors.toolbox.compiled import Compiled, compiler_for
from editors.toolbox.diffusion import DiffusionModel

__all__ = ["MEMORY_SHARE", "MOST", "faster", "fitting"]

MOST = 64
"""Items of a call that a device is given at the most where it has room for more: by then it is busy."""

MEMORY_SHARE = 0.7
"""Of the free memory, what a call may take; the rest is for what editors hold beside it: states, latents, tuned copies, pictures."""


def faster(
    model: DiffusionModel, *, channels_last: bool = False, compile_mode: str | None = None, backend: str = "inductor"
) -> DiffusionModel:
    """The model itself, with other kernels from now on, whose results differ in their last bits.

    ``channels_last`` lays the weights of U-Net and VAE out as convolutions on tensor cores want them. ``compile_mode`` is a mode of
    ``torch.compile`` for the denoising network, see ``Compiled``: variants with another network are not compiled, nor is what keeps
    gradients. Attention is torch's fused one (SDPA) either way. Raises ``EditorError`` where there is no compiler.
    """
    if channels_last:
        for network in (model.unet, model.vae):
            network.to(memory_format=torch.channels_last)
    if compile_mode is not None:
        if backend == "inductor":
            compiler_for(model.device)
        model.backbone.compiled = Compiled(model.unet, compile_mode, backend)
    return model


@torch.no_grad()
def fitting(model: DiffusionModel, most: int = MOST) -> int:
    """How many items one call of the denoising network has room for on the model's device: a power of two, so that a little more or less of
    free memory changes nothing, and at most ``most``.

    On CUDA one step is measured, of two items as guidance makes them, at the side of the pictures to be edited; elsewhere it is ``most``.
    """
    if model.device.type != "cuda":
        return most
    side = model.side // model.factor
    x = torch.zeros(2, model.backbone.latent_channels + model.extra_channels, side, side, device=model.device)
    levels, context = torch.zeros(2, device=model.device), model.embed(["", ""])
    guidance = torch.ones(2, device=model.device) if model.backbone.embeds_guidance else None
    torch.cuda.reset_peak_memory_stats(model.device)
    held = torch.cuda.memory_allocated(model.device)
    try:
        model.backbone.evaluate(x, levels, context, guidance)
    except torch.OutOfMemoryError:
        return 1
    taken = torch.cuda.max_memory_allocated(model.device) - held
    torch.cuda.empty_cache()
    fit = int(MEMORY_SHARE * torch.cuda.mem_get_info(model.device)[0] / (taken / 2))
    return max(1, min(most, 2 ** (fit.bit_length() - 1) if fit else 1))
