"""Every page of an engine at work, in a real browser: python dashboard_pages.py ENDPOINT PASSWORD SCREENSHOTS [CASE].

Pictures of them are to be looked at; one of these is the README's.
"""

import re
import sys

from playwright.sync_api import expect

import engine_at_work
from browser import look_at, run


def pages_of(jobs):
    """Each page: its name and its path below /ui/."""
    failed, running, queued = (jobs[name].split("/")[1] for name in ("failed", "running", "queued"))
    return {
        "overview": "", "overview-day": "?span=24h", "jobs": "jobs", "jobs-filtered": "jobs?filter=state%3D'FAILED'", "jobs-refused": "jobs?filter=state%3D",
        "jobs-none": "jobs?filter=action%3D'no_such'", "job-failed": f"jobs/{failed}", "job-running": f"jobs/{running}",
        "job-queued": f"jobs/{queued}",
        "job-stop": f"jobs/{running}/stop", "job-retry": f"jobs/{failed}/retry", "queue": "queue",
        "queue-restore": "queue/restore", "actions": "actions", "executors": "executors", "executor": f"executors/{jobs['executor']}", "distributors": "distributors", "distributor": "distributors/nightly_noop",
       
        "distributor-reset": "distributors/nightly_noop/reset", "users": "users", "user": "users/jane", "user-password": "users/jane/password",
        "bulk-retry": "jobs/bulk/retry?filter=state%3D'FAILED'", "bulk-refused": "jobs/bulk/stop?filter=state%3D",
        "operations": "operations", "operation": jobs["operation"].replace("operation/", "operations/"),
        "sessions": "sessions", "sessions-end": "sessions/end", "about": "about", "not-found": "jobs/none",
    }


def looks(site, jobs):
    """Every page in light, dark and narrow: no complaint, no violation, not too large."""
    kinds = {
        "light": {"color_scheme": "light"}, "dark": {"color_scheme": "dark"},
        "390": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
    }
    for kind, options in kinds.items():
        page = site.page(site.context(**options))
        page.goto("ui/login")
        look_at(site, page, "login", kind)
        site.log_in(page, "")
        for name, path in pages_of(jobs).items():
            page.goto(f"ui/{path}")
            page.wait_for_function("[...document.querySelectorAll('time')].every((time) => time.title)")
            look_at(site, page, name, kind)


def picture_of_the_readme(site, _jobs):
    page = site.logged_in(viewport={"width": 1200, "height": 640}, color_scheme="light")
    page.wait_for_function("[...document.querySelectorAll('time')].every((time) => time.title)")
    file = site.screenshots / "readme.png"
    page.screenshot(path=file)
    assert file.stat().st_size <= 200 * 1024, file.stat().st_size


def three_questions_take_few_page_loads(site, jobs):
    """What people ask at night: each begins with the overview, and its answer is at most six page loads away."""
    page = site.logged_in()
    loads = []
    page.on("request", lambda request: request.is_navigation_request() and loads.append(request.url))

    def ask():
        loads.clear()
        page.goto("ui/")

    # why does a job of an action wait that nobody has?
    ask()
    page.locator("#attention").get_by_role("link", name="the jobs that wait").click()
    page.locator("#rows a").first.click()
    expect(page.locator("#why")).to_contain_text("no registered executor has the action resize_disk")
    assert len(loads) <= 6, loads
    ask()
    page.get_by_role("link", name="why it waits").click()
    expect(page.locator("#why")).to_contain_text("no registered executor has the action resize_disk")
    # which executor has the job that has been running for longest?
    ask()
    executor = site.ok(site.api.get("/api/executor"))["executors"][0]["name"]
    expect(page.locator("#longest tbody tr")).to_have_count(3)
    expect(page.locator("#longest tbody tr").first).to_contain_text(executor)
    # all jobs of an action that failed today, once more; the test may run at midnight, so it takes the other link
    ask()
    failures = page.locator("#failures")
    expect(failures.get_by_role("link", name="today", exact=True)).to_have_attribute("href", re.compile("now%2Fd"))
    failures.get_by_role("link", name="15 minutes").click()
    page.get_by_role("link", name="Retry 3…").click()
    page.get_by_role("button", name="Retry 3 jobs").click()
    page.wait_for_url("**/ui/operations/*")
    assert len(loads) <= 6, loads
    expect(page.locator("main")).to_contain_text("SUCCESS")
    failed = "/api/job?$filter=state='FAILED' and action='deploy_application'&$last=0"
    site.until(lambda: site.ok(site.api.get(failed))["count"] == 6, "they have failed once more")


def server_restarts_under_an_open_page(site, _jobs):
    page = site.logged_in()
    page.locator("#filter").fill("half typed")
    print("stop the engine", flush=True)
    sys.stdin.readline()
    expect(page.locator("#banners")).to_contain_text("The server does not answer")
    print("start the engine", flush=True)
    sys.stdin.readline()
    expect(page.locator("#banners")).to_have_text("")
    job = site.add("after_the_restart")
    row = page.locator(f"#row-{job.split('/')[1]}")

    def is_shown():
        # the distributor adds a job at its start, which may be what is new
        if page.locator("#newer").is_visible():
            page.locator("#newer").click()
        return row.is_visible()

    site.until(is_shown, "the job that is new is shown")
    expect(page.locator("#filter")).to_have_value("half typed")


if __name__ == "__main__":
    cases = [looks, picture_of_the_readme, three_questions_take_few_page_loads, server_restarts_under_an_open_page]
    run(cases, sys.argv[1:], engine_at_work.jobs)
