"""Search: check in a browser that the questions of newcomers are answered by the first hit of the site's search.

``python docs/check_search.py build/docs`` prints the questions that are not, and fails if there are any. It needs
Chromium or Chrome, and does nothing without one.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote_plus

QUESTIONS = {
    "predict on unlabelled data": "howto/predict",
    "early stopping on accuracy": "howto/early-stopping",
    "three rates in one plot": "howto/learning-rate",
    "TensorBoard": "howto/loggers",
    "resume after a crash": "howto/saving-and-resuming",
    "LBFGS": "howto/lbfgs",
    "why is val_loss other than by hand": "howto/means",
    "use with pytorch_lightning": "lightning/own-trainer",
    "log to a file": "howto/quiet",
    "export": "howto/export",
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Handler(SimpleHTTPRequestHandler):
    """The site's files, without a line for each request."""

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


def first_hit(browser: str, address: str, question: str) -> str:
    """Return the page of the first hit, without its ending."""
    url = f"{address}/search.html?q={quote_plus(question)}"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom", url]
    page = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    hit = re.search(r'<ul [^>]*class="search">.*?<a href="([^"#?]+)\.html', page, re.DOTALL)
    return html.unescape(hit[1]) if hit else "no page"


def main(site: Path) -> int:
    """Ask all questions; return the number of those that another page answers first."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print("The search was not checked: there is no Chromium.")
        return 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        hits = {question: first_hit(browser, address, question) for question in QUESTIONS}
    finally:
        server.shutdown()
    wrong = [
        f"{question!r} finds {hits[question]}, not {page}"
        for question, page in QUESTIONS.items()
        if hits[question] != page
    ]
    print("\n".join(wrong) or "The first hit of the search answers each question.")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(bool(main(Path(sys.argv[1]))))
