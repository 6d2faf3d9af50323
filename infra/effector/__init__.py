"""The effector: the only process that acts, and the drivers that it acts through."""
