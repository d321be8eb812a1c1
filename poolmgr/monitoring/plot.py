"""A small picture of the cloud's latency, as SVG."""

from collections.abc import Sequence

from poolmgr.monitoring.minutes import Minute

_WIDTH, _HEIGHT = 600, 100


def latency(minutes: Sequence[Minute]) -> str:
    """The longest and the mean call of each minute, and those that failed.

    It has no text in it: it is stretched to the width of the page.

    :param minutes: the oldest first
    """
    top = scale(minutes)
    width = _WIDTH / max(1, len(minutes))
    bars, dots, points = [], [], []
    for number, minute in enumerate(minutes):
        if not minute.calls:
            continue
        left = number * width
        height = _height(minute.longest, top)
        bars.append(
            f'<rect class="longest" x="{left:.1f}" '
            f'y="{_HEIGHT - height:.1f}" width="{width - 1:.1f}" '
            f'height="{height:.1f}"/>'
        )
        mean = _HEIGHT - _height(minute.mean, top)
        points.append(
            f'<rect class="mean" x="{left:.1f}" y="{mean - 1:.1f}" '
            f'width="{width - 1:.1f}" height="2"/>'
        )
        if minute.failed:
            dots.append(
                f'<rect class="failed" x="{left:.1f}" y="0" '
                f'width="{width - 1:.1f}" height="6"/>'
            )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" '
        f'role="img" aria-label="latency of the cloud">'
        f"{''.join(bars + points + dots)}</svg>"
    )


def scale(minutes: Sequence[Minute]) -> float:
    """Seconds at the top of the picture: 1, 2 or 5 times a power of ten."""
    longest = max((minute.longest for minute in minutes), default=0.0)
    top = 0.001
    steps = (2.0, 2.5, 2.0)
    number = 0
    while top < longest:
        top *= steps[number % 3]
        number += 1
    return top


def _height(seconds: float, top: float) -> float:
    return min(1.0, seconds / top) * _HEIGHT
