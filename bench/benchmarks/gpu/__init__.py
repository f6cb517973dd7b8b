"""``make gpu-check``: what can be said of a card in ten minutes.

Four questions, each with a table of its own:

1. Are the pictures right? Edits on ToyBox, whose weights are trained, against those of the CPU in float32, in each dtype; and against the
   same edit made once more.
2. How fast is a sweep? Ours and diffusers' pipelines in the same process, on the same networks: Stable Diffusion 1.5's sizes, its weights
   drawn and not trained, which takes the same time.
3. What part of the card's own speed is that? Of a large product of matrices, measured just before.
4. Is `docs/memory.md` true? Peaks on the card beside those of the emulated one.

On an emulated card it runs too, in a small form: that shows that every part works, and its seconds say nothing.
"""
