"""The id of an embedded cluster."""

import base64
import uuid

from autopilot.infra.platform.kafka import cluster_id


def test_a_cluster_id_is_never_taken_for_an_option() -> None:
    drawn = uuid.UUID(bytes=b"\xfb" * 16)
    assert base64.urlsafe_b64encode(drawn.bytes).startswith(b"-")
    assert not cluster_id(drawn).startswith("-")
    assert len(base64.urlsafe_b64decode(cluster_id(drawn) + "==")) == 16
