"""`docs/settings.md`: every setting with its default, so that none is known to the code alone."""

from pydantic import SecretStr

from autopilot.infra.settings import FILE, PREFIX, Settings

_INTRODUCTION = f"""\
# Settings

Made from `infra/settings.py` by `autopilot schemas docs`; do not edit by hand.

A setting stands under its name in `{FILE}` in the working directory, or in the environment under `{PREFIX}` and
its name in capitals, which wins. `autopilot config` shows each value and where it came from. A port of 0 is picked
once and remembered in the home folder.

| setting | default | what it is |
|---|---|---|
"""


def settings_page() -> str:
    """The whole page, in Markdown, in the order of the settings' model."""
    rows = (
        f"| `{name}` | {_written(field.default)} | {field.description} |\n"
        for name, field in Settings.model_fields.items()
    )
    return _INTRODUCTION + "".join(rows)


def _written(default: object) -> str:
    """A default as it would be written in the file; nothing where it is empty."""
    plain = default.get_secret_value() if isinstance(default, SecretStr) else default
    if isinstance(plain, bool):
        return f"`{str(plain).lower()}`"
    return "" if plain in ("", None) else f"`{plain}`"
