"""What a simulation reads from files and topics, and what it writes: an ordinary log, a report, plots."""
