"""Submission bundles: a scored run as one file that can be handed on, and what a stranger's bundle can be believed."""
