"""What single commands show: the outlook of a plan, the report, the lists, and how they look on a terminal."""
