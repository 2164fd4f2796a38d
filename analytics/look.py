"""Pure: how each kind of mark looks, in the page and in a picture of its own."""

from typing import Any

from analytics.wording import PATIENT, Writing

# In the page the colours are those of the style sheet, so that light, dark and print follow it by
# themselves. A picture made on the server has no style sheet.
TOKENS = ("accent", "therapist", "dip", "muted", "line", "card")
PAGE = {name: f"var(--{name})" for name in TOKENS} | {"ground": "transparent"}
PICTURE = {
    "ground": "#FFFFFF",
    "accent": "#0B6E6E",
    "therapist": "#A64B2A",
    "dip": "#8A5A00",
    "muted": "#55626B",
    "line": "#D9DEE0",
    "card": "#FFFFFF",
}


def marks(colours: dict[str, str], perspective: str) -> dict[str, dict[str, Any]]:
    """By name; shape and dash tell the raters apart without colour."""
    accent, therapist, dip, muted, line, card = (colours[name] for name in TOKENS)
    font = {"fontSize": 13, "font": "system-ui, sans-serif"}
    return {
        "patient-line": {"stroke": accent, "strokeWidth": 2},
        "patient-point": {"shape": "circle", "size": 70, "fill": accent, "stroke": card, "strokeWidth": 1},
        "patient-label": {"fill": accent, **font},
        "therapist-line": {"stroke": therapist, "strokeWidth": 2, "strokeDash": [5, 4]},
        "therapist-point": {
            "shape": "triangle-up",
            "size": 80,
            "fill": card,
            "stroke": therapist,
            "strokeWidth": 2,
        },
        "therapist-label": {"fill": therapist, **font},
        "band": {"fill": accent if perspective == PATIENT else therapist, "fillOpacity": 0.14},
        "lone-band": {"stroke": accent if perspective == PATIENT else therapist, "strokeOpacity": 0.3},
        "course-line": {"stroke": muted, "strokeWidth": 1},
        "dip": {"shape": "triangle-down", "size": 40, "fill": dip, "strokeWidth": 0, "yOffset": 12},
        "dip-label": {"fill": dip, **font, "fontSize": 12},
        "pause": {"stroke": muted, "strokeWidth": 1, "strokeDash": [1, 3]},
        "pause-label": {"fill": muted, **font, "fontSize": 12},
        "course-label": {"fill": muted, **font},
        "missing": {
            "shape": "cross",
            "size": 40,
            "fill": card,
            "stroke": muted,
            "strokeWidth": 1.5,
            "yOffset": 9,
        },
        "hidden": {
            "shape": "circle",
            "size": 40,
            "fill": card,
            "stroke": muted,
            "strokeWidth": 1.5,
            "yOffset": 9,
        },
        "axis": {
            # Vega would describe it in English; what it says stands in the table.
            "aria": False,
            "labelColor": muted,
            "titleColor": muted,
            "gridColor": line,
            "domainColor": line,
            "tickColor": muted,
            "labelFontSize": 13,
            "titleFontSize": 13,
            "labelFont": font["font"],
            "titleFont": font["font"],
            "titleFontWeight": "normal",
            "titlePadding": 10,
        },
    }


def title_above(writing: Writing) -> dict[str, Any]:
    """Of a y axis: its title above the scale and upright; on its side an arrow would point elsewhere."""
    side, away = ("right", 24) if writing.is_rtl else ("left", -24)
    return {
        "orient": side,
        "titleAngle": 0,
        "titleAlign": side,
        "titleAnchor": "end",
        "titleX": away,
        "titleY": -12,
    }
