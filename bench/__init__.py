"""The conductor: spec, manifest, plan, run, store, score, aggregate, gate and the command line."""
