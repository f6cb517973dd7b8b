"""Who makes the edits: the worker, how it drains a run folder, and where workers run."""
