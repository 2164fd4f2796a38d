"""Pure: cells of tables that people open in a spreadsheet."""

# A cell that begins so would be taken for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def harmless(value: object) -> object:
    """The cell, with an apostrophe before text that a spreadsheet would run."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
