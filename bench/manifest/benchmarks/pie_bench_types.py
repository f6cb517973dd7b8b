"""The ten types of edits that PIE-Bench and PIE-Bench++ share, as folders of the one and configurations of the other are named."""

from __future__ import annotations

__all__ = ["TYPES", "category_of"]

TYPES = (
    "0_random_140",
    "1_change_object_80",
    "2_add_object_80",
    "3_delete_object_80",
    "4_change_attribute_content_40",
    "5_change_attribute_pose_40",
    "6_change_attribute_color_40",
    "7_change_attribute_material_40",
    "8_change_background_80",
    "9_change_style_80",
)
"""Number, words, and how many there are of it."""


def category_of(kind: str) -> str:
    """The words of a type: `change object` of `1_change_object_80`."""
    return " ".join(kind.split("_")[1:-1])
