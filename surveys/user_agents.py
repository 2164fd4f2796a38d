"""What a browser calls itself, in two words that somebody knows their own browser by. Browsers pretend to be
each other, so the most particular name is looked for first."""

BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "Mac"),
    ("Linux", "Linux"),
)


def browser_and_system(user_agent: str) -> tuple[str, str]:
    """Names as their makers write them; empty where none is known."""
    return tuple(  # type: ignore[return-value]
        next((name for mark, name in names if mark in user_agent), "") for names in (BROWSERS, SYSTEMS)
    )
