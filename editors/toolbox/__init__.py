"""What editors share: a diffusion model as plain operations, schedules and sweeps, masks, attention, CLIP, outside pictures."""
