"""One file a model: what it is made of, what one training step does, and the folder it is saved as."""
