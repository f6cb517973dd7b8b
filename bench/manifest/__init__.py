"""What is edited, and what is real: manifests, their samples and pictures, and the reference pictures of a run."""

from __future__ import annotations

from bench.manifest.manifest import Manifest, Sample, open_manifest

__all__ = ["Manifest", "Sample", "open_manifest"]
