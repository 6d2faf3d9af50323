"""The five agents: pure folds over one partition. No I/O, no clock, no randomness."""
