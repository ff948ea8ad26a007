"""How soon a browser has drawn a page: python first_page.py ENDPOINT PASSWORD TIMES.

Prints one line of JSON: milliseconds from the request to the first paint with content, of each time. Nothing is cached
between two times, as for somebody who has never been there.
"""

import json
import shutil
import sys

from playwright.sync_api import sync_playwright

PAINT = "() => performance.getEntriesByName('first-contentful-paint').map(paint => paint.startTime)[0]"


def main(endpoint, password, times):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        login = browser.new_context(base_url=endpoint)
        answer = login.request.post("/api/session", data={"sessionTemplate": {
            "href": "session-template/internal", "username": "super", "password": password}})
        assert answer.ok, answer.text()
        state, drawn = login.storage_state(), []
        for _ in range(times):
            context = browser.new_context(base_url=endpoint, storage_state=state)
            page = context.new_page()
            page.goto("ui/jobs")
            page.wait_for_function(PAINT)
            drawn.append(page.evaluate(PAINT))
            context.close()
        browser.close()
    print(json.dumps(drawn))


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
