"""How edits get scored: the metric contract, and metrics that stand on the networks of established libraries."""

from __future__ import annotations

from metrics.base import Card, FeatureSet, Image, MetricError, MetricWarning, PairBatch, PairMetric, SetMetric

__all__ = ["Card", "FeatureSet", "Image", "MetricError", "MetricWarning", "PairBatch", "PairMetric", "SetMetric"]
