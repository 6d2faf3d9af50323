"""Reads cases that stand in files of their own, `*_test.yaml` beside a bundle; errors name file, line and column."""

from typing import Literal

from pydantic import Field, ValidationError

from autopilot.policies.bundle import Case
from autopilot.policies.bundle_file import BundleError, YamlText
from autopilot.schemas.configuration import Name, Written

SUFFIX = "_test.yaml"


class PolicyTests(Written):
    """Cases for the bundle of that name."""

    kind: Literal["PolicyTests"] = "PolicyTests"
    bundle: Name
    tests: list[Case] = Field(min_length=1)


def parse_cases(text: str, file: str) -> PolicyTests:
    """The cases that a YAML text holds. Raises `BundleError`."""
    source = YamlText(text, file, "begin with `kind: PolicyTests`")
    try:
        return PolicyTests.model_validate(source.data)
    except ValidationError as error:
        raise BundleError([source.found(detail, PolicyTests) for detail in error.errors()]) from None
