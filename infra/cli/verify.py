"""`autopilot verify compare`: the verifier's statistics on samples in a file, without a log or a Kafka.

Exit codes: 0 every metric passes, 1 at least one does not (or has no data), 2 the file cannot be judged.
"""

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from autopilot.agents.verification import Classification, Direction, EffectMeasure, EffectSize, NanStrategy
from autopilot.agents.verification import classifier as kayenta
from autopilot.infra.cli.output import NO, AsJson, print_json, print_table, refuse

app = typer.Typer(help="Verification: samples of an experiment against a control.", no_args_is_help=True)


class _Asked(BaseModel):
    """What a file may say; names as in Kayenta's configuration, or with underscores."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


Sample = Annotated[float | None, Field(strict=True)]
Limit = Annotated[float | None, Field(strict=True, allow_inf_nan=False)]


class _Effect(_Asked):
    measure: EffectMeasure = EffectMeasure.MEAN_RATIO
    allowed_increase: Limit = None
    allowed_decrease: Limit = None
    critical_increase: Limit = None
    critical_decrease: Limit = None


class _Metric(_Asked):
    """One comparison. A sample that is null is one that was not measured."""

    name: str = ""
    control: list[Sample]
    experiment: list[Sample]
    direction: Direction = Direction.EITHER
    classifier: Literal["mannWhitney", "meanInequality"] = "mannWhitney"
    tolerance: float = Field(default=kayenta.TOLERANCE, strict=True, ge=0, allow_inf_nan=False)
    confidence: float = Field(default=kayenta.CONFIDENCE, strict=True, gt=0, le=0.999999)
    nan_strategy: NanStrategy = NanStrategy.REMOVE
    effect_size: _Effect = _Effect()
    critical: bool = Field(default=False, strict=True)
    must_have_data: bool = Field(default=False, strict=True)


_ONE, _MANY = TypeAdapter(_Metric), TypeAdapter(Annotated[list[_Metric], Field(min_length=1)])


@app.command()
def compare(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON, `-` for standard input: one metric, or a list.")],
    as_json: AsJson = False,
) -> None:
    """Is the experiment worse than the control? Classes as Kayenta's judge gives them.

    A metric is an object with `control` and `experiment` (lists of numbers, null where nothing was measured) and,
    where the default will not do, `name`, `direction` (increase, decrease, either), `tolerance` (0.25), `confidence`
    (0.98), `nanStrategy` (remove, replace), `effectSize` (measure, allowedIncrease, allowedDecrease, criticalIncrease,
    criticalDecrease), `critical`, `mustHaveData`, `classifier` (mannWhitney, meanInequality). Exit code 1 when one
    does not pass; one without data does not.

    Example: autopilot verify compare canary.json --json
    """
    metrics = _metrics(file)
    found = [(metric.name or f"metric {number}", _classified(metric)) for number, metric in enumerate(metrics, 1)]
    passes = all(one.passes for _, one in found)
    if as_json:
        print_json({"verdict": "pass" if passes else "fail", "metrics": [_plain(*one) for one in found]})
    else:
        columns = ("metric", "class", "critical", "effect", "samples", "reason")
        print_table(columns, (_row(*one) for one in found), "nothing to compare")
        typer.echo(f"verdict: {'pass' if passes else 'fail'}")
    if not passes:
        raise typer.Exit(NO)


def _metrics(file: Path) -> list[_Metric]:
    try:
        content = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        data = json.loads(content)
    except (OSError, UnicodeDecodeError) as error:
        refuse(f"`{file}` cannot be read: {error}")
    except json.JSONDecodeError as error:
        refuse(f"`{file}` line {error.lineno} column {error.colno}: {error.msg}, expected JSON")
    try:
        return _MANY.validate_python(data) if isinstance(data, list) else [_ONE.validate_python(data)]
    except ValidationError as error:
        refuse("\n".join(f"`{file}`: {_finding(detail)}" for detail in error.errors(include_url=False)))


def _finding(detail: Any) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
    seen = json.dumps(detail["input"], default=str)
    shown = seen if len(seen) <= 60 else f"{seen[:57]}..."
    if detail["type"] == "missing":
        return f"`{place}` is missing in {shown}"
    if detail["type"] == "extra_forbidden":
        return f"there is no field `{place}`; `autopilot verify compare --help` names those that there are"
    where = f"`{place}`" if place else "the whole"
    return f"{where} is {shown}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _classified(metric: _Metric) -> Classification:
    control, experiment = ([math.nan if v is None else v for v in side] for side in (metric.control, metric.experiment))
    asked: dict[str, Any] = {
        name: getattr(metric, name) for name in ("direction", "nan_strategy", "critical", "must_have_data")
    }
    if metric.classifier == "meanInequality":
        return kayenta.classify_by_mean(control, experiment, **asked)
    try:
        return kayenta.classify(
            control,
            experiment,
            tolerance=metric.tolerance,
            confidence=metric.confidence,
            effect_size=EffectSize(**dict(metric.effect_size)),
            **asked,
        )
    except ValueError as error:
        refuse(f"`{metric.name or 'metric'}`: {error}")


def _plain(name: str, found: Classification) -> dict[str, Any]:
    return {
        "name": name,
        "classification": found.classification,
        "critical": found.critical,
        "deviation": None if math.isnan(found.deviation) else found.deviation,
        "shift": found.shift,
        "control_samples": found.samples[0],
        "experiment_samples": found.samples[1],
        "reason": found.reason,
    }


def _row(name: str, found: Classification) -> tuple[str, ...]:
    effect = "" if math.isnan(found.deviation) else f"{found.deviation:.3g}"
    samples = f"{found.samples[0]} / {found.samples[1]}"
    return name, found.classification, "yes" if found.critical else "", effect, samples, found.reason
