"""The viewer: every picture of a run by sample, editor, knob value and seed, with its scores; files that open without a server."""
