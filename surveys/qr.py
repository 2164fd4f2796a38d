"""A link as a picture that a phone's camera reads."""

import segno


def qr_image(text: str) -> str:
    """The address (data:) of a black and white SVG, also on a dark page."""
    return segno.make(text, error="m", micro=False).svg_data_uri(scale=4, border=4, light="#fff")
