"""Leaderboards over runs that were made anywhere: merged, ranked among equals, with the history of their numbers."""
