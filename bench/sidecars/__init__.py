"""What writes sidecars: a network looks at the pictures of a manifest and says what the manifest does not.

`networks` has the two kinds, `write` the file, which `bench.manifest.sidecar` reads.
"""

from __future__ import annotations

from bench.sidecars.networks import Captioner, Segmenter, opened
from bench.sidecars.write import Writer, Written, write

__all__ = ["Captioner", "Segmenter", "Writer", "Written", "opened", "write"]
