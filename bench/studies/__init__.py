"""Experiments that use the harness as anyone could: what the papers found, what a value of a metric means, how often
intervals hold the truth."""
