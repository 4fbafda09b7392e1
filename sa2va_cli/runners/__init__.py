"""Runners: where the workers of a job live, and who looks after them."""
