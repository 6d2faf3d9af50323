"""Everything that touches the outside, and the one composition root."""
