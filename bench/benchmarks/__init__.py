"""The parts of ``make bench``, one module each."""
