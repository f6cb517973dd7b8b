"""Spec x manifest -> units: the editors of a run resolved, the units with their keys, and the prompts that are too long."""

from __future__ import annotations

from bench.plan.entries import Entry, resolve_entries
from bench.plan.plan import Plan, SampleInfo, Unit, make_plan, unit_seed

__all__ = ["Entry", "Plan", "SampleInfo", "Unit", "make_plan", "resolve_entries", "unit_seed"]
