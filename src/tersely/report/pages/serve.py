"""A run's page while the run goes on, served on this machine only and drawn anew as it grows."""

import html
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

from tersely.core.errors import DataError
from tersely.core.manifest import FILE
from tersely.flows.diagnose import diagnose
from tersely.flows.recipe.recipe import RECIPE_FILE, read_recipe
from tersely.readers.steplogs import read_steps
from tersely.report.pages.diagnosis import draw_diagnosis
from tersely.report.pages.run import draw_report

HOST = "127.0.0.1"
_WAITING = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{name}</title></head>
<body style="font: 16px system-ui; margin: 3rem">
<h1>{name}</h1>
<p>{steps} steps so far. The page begins with the second evaluation: {reason}.</p>
</body>
</html>"""


class LivePage:
    """The page of a run folder or of another tool's log, kept until it has grown."""

    def __init__(self, place: Path, *, refresh_s: float) -> None:
        self._folder, self._refresh_s = place, refresh_s
        self._drawn: tuple[tuple[int, ...], str] | None = None
        self._one_at_a_time = Lock()

    def text(self) -> str:
        """The page now, with the order to ask again after ``refresh_s`` seconds."""
        with self._one_at_a_time:
            state = self._state()
            if self._drawn is None or self._drawn[0] != state:
                self._drawn = (state, self._draw())
            refresh = f'<meta http-equiv="refresh" content="{self._refresh_s:g}">'
            return self._drawn[1].replace("<head>", f"<head>\n{refresh}", 1)

    def _state(self) -> tuple[int, ...]:
        """Steps, evaluations and alarms that are there; bytes of another tool's log."""
        if not is_run(self._folder):
            files = [self._folder, *self._folder.rglob("*")]
            return (sum(file.stat().st_size for file in files if file.is_file()),)
        counts = [_count_lines(self._folder / name) for name in ("steps.jsonl", "alarms.jsonl")]
        return counts[0], len(list(self._folder.glob("eval/step-*.jsonl"))), counts[1]

    def _draw(self) -> str:
        name = html.escape(self._folder.resolve().name)
        try:
            if is_run(self._folder):
                return draw_report(self._folder).text
            log = read_steps(self._folder, columns={})
            return draw_diagnosis(log, diagnose(log), name=self._folder.resolve().name)
        except DataError as error:
            steps = _count_lines(self._folder / "steps.jsonl")
            return _WAITING.format(name=name, steps=steps, reason=html.escape(str(error)))


def is_run(place: Path) -> bool:
    """Whether it is a run folder of ours, with a report to come."""
    return (place / FILE).is_file()


def _count_lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def make_server(place: Path, *, port: int, refresh_s: float) -> ThreadingHTTPServer:
    """A server of the run's page on loopback; port 0 takes a free one."""
    page = LivePage(place, refresh_s=refresh_s)
    if (place / RECIPE_FILE).is_file():
        read_recipe(place / RECIPE_FILE)  # refused here, where somebody reads it

    class Handler(BaseHTTPRequestHandler):
        """Answers ``/`` with the page, and nothing else."""

        def do_GET(self) -> None:
            if self.path != "/":
                self.send_error(404)
                return
            body = page.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing, because every refresh of the page would add a line."""

    return ThreadingHTTPServer((HOST, port), Handler)
