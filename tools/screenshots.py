"""Every page as a picture in var/screenshots/, from a demonstration site of its own: `make screenshots`.

Phone and desk, light and dark in English; phone and desk in Arabic.
"""

import shutil
import sys

from tests.journeys.conftest import ROOT, chromium, running_site
from tests.journeys.pages import SIZES, walk

FOLDER = ROOT / "var" / "screenshots"
SIGHTS = [
    *((size, scheme, "en-GB") for size in SIZES for scheme in ("light", "dark")),
    *((size, "light", "ar") for size in SIZES),
]


def main(names: list[str]) -> None:
    """All pages, or those whose names are given."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with running_site(ROOT / "var" / "screenshots-site") as site, chromium() as browser:
        for size, scheme, language in SIGHTS:
            for name, page, _ in walk(browser, site, size, scheme, language):
                if not names or name in names:
                    path = FOLDER / f"{name}-{size}-{scheme}-{language[:2]}.png"
                    page.screenshot(path=path, full_page=True)
    print(f"{len(list(FOLDER.glob('*.png')))} pictures in {FOLDER}")


if __name__ == "__main__":
    main(sys.argv[1:])
