"""Score tables -> what a report and a verdict say: curves, intervals, paired comparisons, frontiers, judges, the baseline."""
