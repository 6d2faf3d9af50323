"""Basis points, hundredths of a percent: what shares and confidences are in events, and how people read them."""


def percent(basis_points: int) -> str:
    """Basis points as a percentage: 8150 is `81.5 %`."""
    return f"{basis_points / 100:g} %"
