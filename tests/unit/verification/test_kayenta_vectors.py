"""Kayenta's own cases: inputs and the classes that its judge gives them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from autopilot.agents.verification import (
    Classification,
    Direction,
    EffectMeasure,
    EffectSize,
    NanStrategy,
    classify,
    classify_by_mean,
)

FILE = Path(__file__).parent / "vectors" / "kayenta_classifier_vectors_a.json"
"""From Kayenta's tests, Apache-2.0: `LICENSE.kayenta` beside it."""
VECTORS = json.loads(FILE.read_text())


def effect_size(args: dict[str, Any]) -> EffectSize:
    allowed = args.get("effectSizeThresholds", (None, None))
    critical = args.get("criticalThresholds", (None, None))
    return EffectSize(
        measure=EffectMeasure(args.get("effectSizeMeasure", "meanRatio")),
        allowed_decrease=allowed[0],
        allowed_increase=allowed[1],
        critical_decrease=critical[0],
        critical_increase=critical[1],
    )


def judged(vector: dict[str, Any]) -> Classification:
    asked: dict[str, Any] = {"direction": Direction(vector["direction"].lower()), "critical": vector["isCritical"]}
    if vector["nanStrategy"] != "none":
        asked["nan_strategy"] = NanStrategy(vector["nanStrategy"].lower())
    if vector["classifier"] == "MeanInequalityClassifier":
        return classify_by_mean(vector["control"], vector["experiment"], **asked)
    args = vector["args"]
    return classify(
        vector["control"],
        vector["experiment"],
        tolerance=args["tolerance"],
        confidence=args["confLevel"],
        effect_size=effect_size(args),
        **asked,
    )


def test_all_of_them_are_here() -> None:
    assert len(VECTORS) == 19


@pytest.mark.parametrize("vector", VECTORS, ids=[one["name"] for one in VECTORS])
def test_the_class_is_kayentas(vector: dict[str, Any]) -> None:
    found, expected = judged(vector), vector["expected"]
    assert [str(found.classification)] == (expected["classification"] or ["Nodata"])
    if "critical" in expected:
        assert found.critical is expected["critical"]
    if "deviation" in expected:
        assert math.isnan(found.deviation)


def test_missing_data_says_which() -> None:
    (vector,) = [one for one in VECTORS if one["name"].endswith("Reason String")]
    assert judged(vector).reason == "no samples of the control and experiment"
