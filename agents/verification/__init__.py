"""Statistics that can say no: samples of an experiment against those of a control.

Shared by the verifier and the command line; pure, and computed with + - * / sqrt and comparisons alone.
"""

from autopilot.agents.verification.classifier import Classification, Label, classify, classify_by_mean
from autopilot.agents.verification.comparison import Direction, EffectMeasure, EffectSize, NanStrategy
from autopilot.agents.verification.sequential import Decision, SequentialResult, SequentialTest

__all__ = [
    "Classification",
    "Decision",
    "Direction",
    "EffectMeasure",
    "EffectSize",
    "Label",
    "NanStrategy",
    "SequentialResult",
    "SequentialTest",
    "classify",
    "classify_by_mean",
]
