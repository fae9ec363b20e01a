"""An audit as a picture: how well each score orders the candidates, and what its choice saves."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

_ROWS = (
    ("again", "noise", "the truth again", "#8a8f98"),
    ("true", "true_frames", "cost of true frames", "#2f6fb0"),
    ("imagined", "imagined", "cost of imagined frames", "#d0722c"),
    ("shuffled", "shuffled", "shuffled cost", "#c4c7cc"),
)
_WIDTH, _BAR, _LEFT, _HALF = 760, 18, 170, 250


def picture(spreads: Mapping[str, Mapping[str, float | None]], truth: str) -> str:
    """SVG of bars: rank correlations at the left, the chosen candidate's gain at the right."""
    most = max([found["gain_best"] or 0.0 for found in spreads.values()] + [1e-6])
    parts, y = [], 46
    for spread, found in spreads.items():
        parts.append(f'<text x="12" y="{y + 13}" font-weight="600">spread {escape(spread)}</text>')
        for _, key, label, colour in _ROWS:
            parts.append(f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{label}</text>')
            parts.append(_bar(_LEFT, y, found.get(key), 1.0, colour))
            right = _LEFT + _HALF + 70
            parts.append(_bar(right, y, found.get(f"gain_{key}"), most, colour))
            y += _BAR + 4
        best = _LEFT + _HALF + 70 + _HALF * (found["gain_best"] or 0.0) / most
        top = y - len(_ROWS) * (_BAR + 4)
        parts.append(f'<path d="M{best:.1f} {top - 2}V{y}" stroke="#333" stroke-dasharray="3 3"/>')
        y += 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" '
        'font-family="system-ui,sans-serif" font-size="12" fill="#222">'
        '<rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{_LEFT}" y="24" font-weight="600">rank correlation with the truth</text>'
        f'<text x="{_LEFT + _HALF + 70}" y="24" font-weight="600">saved by the chosen one '
        f"(dashed: by the best)</text>"
        f'<text x="12" y="{y - 4}" fill="#777">truth: {escape(truth)}</text>{"".join(parts)}</svg>'
    )


def _bar(x: float, y: float, value: float | None, most: float, colour: str) -> str:
    if value is None:
        return f'<text x="{x + 4:.0f}" y="{y + 13}" fill="#999">not known</text>'
    length = _HALF * min(max(value, 0.0), most) / most
    return (
        f'<rect x="{x:.0f}" y="{y}" width="{length:.1f}" height="{_BAR}" rx="2" fill="{colour}"/>'
        f'<text x="{x + length + 5:.1f}" y="{y + 13}">{value:.2f}</text>'
    )
