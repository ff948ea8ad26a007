"""A browser, and what is looked at on every page: messages on the console, requests to anywhere else, what breaks the rules
for people with disabilities (axe), and its size.
"""

import http.client
import http.server
import shutil
import threading
import time
import urllib.parse
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

MOST_BYTES = 100 * 1024
MOST_SCRIPT = 8 * 1024
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}
LIMIT = 60


class Site:
    """A server with jobs, and a browser."""

    def __init__(self, browser, endpoint, password, screenshots):
        self.browser, self.endpoint, self.password = browser, endpoint, password
        self.screenshots = Path(screenshots)
        self.screenshots.mkdir(parents=True, exist_ok=True)
        self.contexts, self.reports = [], []
        self.api = self.context().request
        self.ok(self.api.post("/api/session", data={"sessionTemplate": {
            "href": "session-template/internal", "username": "super", "password": password}}))

    def context(self, base=None, **options):
        context = self.browser.new_context(base_url=base or self.endpoint, **options)
        context.set_default_timeout(30_000)
        self.contexts.append(context)
        return context

    def page(self, context):
        """A page whose every complaint is kept."""
        page = context.new_page()
        host = urllib.parse.urlsplit(self.endpoint).hostname
        page.on("console", lambda message: self.report(page, f"console: {message.text}"))
        page.on("pageerror", lambda error: self.report(page, f"error: {error}"))
        page.on("request", lambda request: urllib.parse.urlsplit(request.url).hostname == host
                or self.report(page, f"request to {request.url}"))
        return page

    def report(self, page, what):
        # a browser writes each status above 399 to its console; cases that provoke one look at it themselves
        if "Failed to load resource" not in what:
            self.reports.append(f"{page.url}: {what}")

    def ok(self, answer):
        assert answer.ok, f"{answer.status}: {answer.text()}"
        return answer.json()

    def add(self, action="collect_virtual_machines", **attributes):
        job = {"action": action, "targetResource": {"href": "credential/1"}, **attributes}
        return self.ok(self.api.post("/api/job", data=job))["resource-id"]

    def edit(self, job, **changes):
        return self.ok(self.api.put(f"/api/{job}", data=changes))

    def log_in(self, page, place="jobs"):
        page.goto(f"ui/{place}" if page.url == "about:blank" else page.url)
        page.get_by_label("User name").fill("super")
        page.get_by_label("Password").fill(self.password)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"**/ui/{place}")

    def logged_in(self, **options):
        context = self.context(**options)
        page = self.page(context)
        self.log_in(page)
        return page

    def until(self, is_so, what):
        """Waits until something is so."""
        end = time.monotonic() + LIMIT
        while not is_so():
            assert time.monotonic() < end, f"not in time: {what}"

    def is_quiet(self, case):
        assert not self.reports, f"{case}: {self.reports}"


def look_at(site, page, name, kind):
    page.screenshot(path=site.screenshots / f"{name}-{kind}.png", full_page=True)
    found = Axe().run(page, options=RULES).response["violations"]
    told = [(rule["id"], node["html"], node["failureSummary"]) for rule in found for node in rule["nodes"]]
    assert not told, f"{name} {kind}: {told}"
    width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert width <= 0, f"{name} {kind} is {width} wider than the window"
    assets = page.evaluate("[...document.querySelectorAll('link[href], script[src]')].map((file) => file.href || file.src)")
    sizes = {asset: len(page.request.get(asset).body()) for asset in assets}
    whole = sum(sizes.values()) + len(page.request.get(page.url).body())
    assert whole <= MOST_BYTES, f"{name}: {whole} bytes, {sizes}"
    assert all(size <= MOST_SCRIPT for asset, size in sizes.items() if asset.endswith(".js")), sizes


class Proxy:
    """Takes a prefix off the path of each request and hands it on."""

    def __init__(self, endpoint, prefix):
        address = urllib.parse.urlsplit(endpoint)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def hand_on(self):
                assert self.path.startswith(prefix), self.path
                connection = http.client.HTTPConnection(address.hostname, address.port)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                connection.request(self.command, self.path[len(prefix):] or "/", body, headers)
                answer = connection.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                self.end_headers()
                try:
                    while piece := answer.read1(65536):
                        self.wfile.write(piece)
                        self.wfile.flush()
                except OSError:
                    pass  # the browser has left
                connection.close()

            do_GET = do_POST = hand_on

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()


def run(cases, arguments, prepare):
    """Each of the cases, or those that are named; says of each that it has held."""
    endpoint, password, screenshots, *wanted = arguments
    expect.set_options(timeout=LIMIT * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        site = Site(browser, endpoint, password, screenshots)
        jobs = prepare(site)
        for case in cases:
            if wanted and case.__name__ not in wanted:
                continue
            case(site, jobs)
            site.is_quiet(case.__name__)
            for context in site.contexts[1:]:
                context.close()
            del site.contexts[1:]
            print(f"ok {case.__name__}", flush=True)
        browser.close()
