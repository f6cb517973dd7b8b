"""ToyBox, the embedded picture world: vocabulary, rendering, models, manifests, training and evaluation."""
