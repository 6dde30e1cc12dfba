"""The learning platform's web site: the courses, a health report, and enrolment.

PORT, DATABASE_URL and COMMIT_REF come from the environment. With STOP_ON_EOF=1 the site
ends when its standard input does, that is, together with whoever started it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg

LARGEST_BODY_BYTES = 64 * 1024
LONGEST_FIELD_CHARS = 200
FIELDS = ("name", "email", "course")

COURSES = "select title, summary from public.courses where published_at is not null order by title"
COUNT = "select count(*) from public.courses"
ENROL = """
with course as (
  select id from public.courses where slug = %(course)s and published_at is not null
), learner as (
  insert into public.profiles (full_name, email)
  select %(name)s, %(email)s from course
  on conflict (email) do update set email = excluded.email -- changes nothing, but returns the row
  returning id
), enrolment as (
  insert into public.enrolments (learner_id, course_id)
  select learner.id, course.id from learner, course
  on conflict (learner_id, course_id) do nothing
)
select id from learner
"""


class Site(ThreadingHTTPServer):
    request_queue_size = 64

    def __init__(self, *, port: int, commit: str, database_url: str) -> None:
        super().__init__(("127.0.0.1", port), Page)
        self.commit = commit
        self.database_url = database_url

    def rows(self, query: str, values: dict[str, str] | None = None) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, connect_timeout=2, application_name="lms") as connection:
            connection.execute("set local statement_timeout = '5s'")
            return connection.execute(query, values).fetchall()


class Page(BaseHTTPRequestHandler):
    server: Site
    timeout = 30

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/":
                self._courses()
            case "/api/health":
                self._health()
            case _:
                self._json(HTTPStatus.NOT_FOUND, {"error": "There is nothing here."})

    def do_POST(self) -> None:
        if self.path != "/api/enrol":
            return self._json(HTTPStatus.NOT_FOUND, {"error": "There is nothing here."})
        wish = wish_in(self._body())
        if wish is None:
            message = "Send a JSON object with name, email and course."
            return self._json(HTTPStatus.BAD_REQUEST, {"error": message})
        try:
            learner = self.server.rows(ENROL, wish)
        except (psycopg.DataError, psycopg.IntegrityError, UnicodeError):
            return self._json(HTTPStatus.BAD_REQUEST, {"error": "The name or the address cannot be right."})
        except psycopg.Error:
            return self._json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "Try again in a minute."})
        if not learner:
            return self._json(HTTPStatus.NOT_FOUND, {"error": "There is no such course."})
        return self._json(HTTPStatus.CREATED, {"learner": str(learner[0][0]), "course": wish["course"]})

    def _courses(self) -> None:
        status = HTTPStatus.OK
        try:
            rows = self.server.rows(COURSES)
            items = "\n".join(f"<li><b>{escape(title)}</b> {escape(summary)}</li>" for title, summary in rows)
        except psycopg.Error:
            status, items = HTTPStatus.SERVICE_UNAVAILABLE, "<li>The courses are not to be had just now.</li>"
        page = (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Harbour courses</title>\n'
            f'<meta name="commit" content="{escape(self.server.commit)}"></head>\n'
            f"<body><h1>Harbour courses</h1>\n<ul>\n{items}\n</ul></body></html>\n"
        )
        self._answer(status, "text/html; charset=utf-8", page)

    def _health(self) -> None:
        begun = time.monotonic()
        report: dict[str, object] = {"status": "ok", "commit": self.server.commit, "database": "ok"}
        try:
            report["courses"] = self.server.rows(COUNT)[0][0]
        except psycopg.Error:
            report |= {"status": "unhealthy", "database": "unreachable"}
        report["response_time_ms"] = round((time.monotonic() - begun) * 1000)
        healthy = report["status"] == "ok"
        self._json(HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE, report)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        fits = length.isdecimal() and int(length) <= LARGEST_BODY_BYTES
        return self.rfile.read(int(length)) if fits else b""

    def _json(self, status: HTTPStatus, document: dict[str, object]) -> None:
        self._answer(status, "application/json", json.dumps(document))

    def _answer(self, status: HTTPStatus, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it
        """Quiet: a query string may hold what is nobody's business."""


def wish_in(body: bytes) -> dict[str, str] | None:
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        return None
    wish = {field: str(sent.get(field) or "").strip() for field in FIELDS} if isinstance(sent, dict) else {}
    return wish if wish and all(0 < len(text) <= LONGEST_FIELD_CHARS for text in wish.values()) else None


def end_with_standard_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if os.environ.get("STOP_ON_EOF") == "1":
        threading.Thread(target=end_with_standard_input, daemon=True).start()
    port, commit = int(os.environ["PORT"]), os.environ.get("COMMIT_REF", "")
    with Site(port=port, commit=commit, database_url=os.environ["DATABASE_URL"]) as site:
        site.serve_forever()


if __name__ == "__main__":
    main()
