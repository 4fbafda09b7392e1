"""Model families. Each reads its published checkpoints and answers questions about pictures."""
