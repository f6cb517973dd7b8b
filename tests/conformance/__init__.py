"""What every editor must do, as one pytest decorator; for the built-in editors and for those of other distributions.

    from etabench_conformance import conformance

    @conformance("my_package.my_editor:MyEditor", params={"steps": 4})
    def test_my_editor(check):
        check()

Each check becomes a test of its own, named after what it holds the editor to; ``CHECKS`` lists them. They run the editor on the
embedded ToyBox model, or on the diffusers folder given as ``model``, with real samples of the manifest ``toybox-mini``. Nothing is
downloaded. ``params`` should make one edit quick; the check of the knob takes ``preset`` (and ``knob_params``) instead, because a
knob means nothing after three steps.
"""

from __future__ import annotations

from etabench_conformance.case import Case
from etabench_conformance.decorator import CHECKS, conformance

__all__ = ["CHECKS", "Case", "conformance"]
