"""A real headless browser, for the tests of what is seen in one."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=20000",
)
# A window has a least width, an embedded frame has none: so a page is measured as wide as a phone.
FRAME = """<!doctype html><body style="margin:0">
<iframe id="page" style="border:0;width:{width}px;height:{height}px" srcdoc="{page}"></iframe>
<pre id="result">none</pre>
<script>
document.getElementById("page").onload = event => {{
  const doc = event.target.contentDocument, view = event.target.contentWindow;
  document.getElementById("result").textContent = JSON.stringify((({measure}))(doc, view));
}};
</script></body>"""


def browser() -> str | None:
    """Path of an installed browser, if there is one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


def measure(page: str, *, width: int, script: str, folder: Path, height: int = 844) -> Any:
    """What the JavaScript function `script(document, window)` says of a page that is `width` pixels wide."""
    wrapped = FRAME.format(width=width, height=height, page=html.escape(page), measure=script)
    (folder / "frame.html").write_text(wrapped, encoding="utf-8")
    profile = folder / f"profile-{width}"
    command = [browser(), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", f"file://{folder}/frame.html"]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    shutil.rmtree(profile, ignore_errors=True)
    found = re.search(r'<pre id="result">(.*?)</pre>', dom, re.DOTALL)
    if found is None or found[1] == "none":
        raise RuntimeError(f"the browser measured nothing: {dom[-500:]}")
    return json.loads(html.unescape(found[1]))
