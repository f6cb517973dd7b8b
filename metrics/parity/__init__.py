"""Metrics as published evaluation code really computes them, defects included; for comparing with published tables only.

One module per protocol. Every name begins with the protocol's, no default of this package is among them, and each card says where the
behaviour departs from the metric of the same kind beside it. `metrics.networks.inception` holds the two parity modes of FID's resizing.
"""
