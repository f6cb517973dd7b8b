"""What metrics share: features, sets, pairs, regions, and the arithmetic behind intervals and tests."""
