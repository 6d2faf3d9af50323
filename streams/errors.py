"""Errors of the Kafka side, each saying what its caller should do.

StreamError                 something between us and the broker
+-- LostOwnershipError      drop all state of the partition and start again: another owner has it, or the
|                           transaction was aborted
+-- UnreachableError        wait and try again: the broker does not answer
+-- TornSnapshotError       ignore the snapshot and use an older one, or fold from the beginning
+-- RestoredLogError        point the agents at another cluster: this one holds a restored archive, for reading
+-- UnknownTrustError       delete what was counted and count from the log's begin
"""


class StreamError(RuntimeError):
    """Something between us and the broker."""


class LostOwnershipError(StreamError):
    """A transaction was fenced or aborted. What it would have written is not there, and the state is ahead of it."""


class UnreachableError(StreamError):
    """The broker does not answer."""


class TornSnapshotError(StreamError):
    """A snapshot's parts do not add up to its manifest."""


class RestoredLogError(StreamError):
    """The log was restored from an archive. Agents that went on with it would repeat what it already says."""


class UnknownTrustError(StreamError):
    """A log was read in part by somebody who did not keep whose signatures count, so that nobody knows it here."""
