"""How fast a model is on this machine: fast and plain engine in one run, beside the arithmetic."""
