"""Whose signatures count in a partition that was read in part: never whoever speaks next."""

import pytest

from autopilot.streams.errors import UnknownTrustError
from autopilot.streams.kpis.fold import NO_ROW
from autopilot.streams.kpis.partition import NO_TRUST, TrustRow, trust_of


def test_at_the_begin_of_a_partition_the_next_activation_may_be_the_genesis() -> None:
    assert trust_of(None, {}, 0) == NO_TRUST


def test_what_is_kept_counts_wherever_reading_goes_on() -> None:
    kept = TrustRow(next_offset=7)
    assert trust_of(kept, {}, 0) == kept
    assert trust_of(kept, {"shop": NO_ROW}, 900) == kept
    assert trust_of(NO_TRUST, {"shop": NO_ROW}, 900) == NO_TRUST


@pytest.mark.parametrize(("domains", "next_offset"), [([], 900), (["shop"], 900), (["shop"], 0)])
def test_where_a_genesis_may_be_behind_and_none_is_kept_nothing_is_counted(
    domains: list[str], next_offset: int
) -> None:
    with pytest.raises(UnknownTrustError, match=f"offset {next_offset} without the signer list"):
        trust_of(None, dict.fromkeys(domains, NO_ROW), next_offset)
