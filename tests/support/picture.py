"""A picture of a page for the README, of 64 colours: ``picture.py PAGE OUT.png HEIGHT [KEY...]``.

PAGE is a file or an address; the keys are pressed in it first, by the names that browsers have.
Needs Pillow, which comes with matplotlib.
"""

import io
import sys
from pathlib import Path

from browser import chromium
from PIL import Image

WIDTH = 1120

page, out, height, *keys = sys.argv[1:]
url = page if "://" in page else Path(page).absolute().as_uri()
viewport = {"width": WIDTH, "height": int(height)}
with chromium() as browser, browser.tab(url, viewport=viewport) as tab:
    tab.wait("document.readyState === 'complete'")
    tab.wait_for_timeout(1000)
    for key in keys:
        tab.press(key)
    with Image.open(io.BytesIO(tab.screenshot())) as image:
        image.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(out, optimize=True)
