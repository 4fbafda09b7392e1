"""Jobs: what is to be done, what is done, and the process that does one item after another."""
