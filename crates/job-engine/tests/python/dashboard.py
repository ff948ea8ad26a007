"""What one does on the dashboard, in a real browser: python dashboard.py ENDPOINT PASSWORD SCREENSHOTS [CASE].

Ends with an error at the first case that fails.
"""

import re
import sys

from playwright.sync_api import expect

from browser import Proxy, run


def seed(site):
    """Jobs of every state, with texts that try to be more."""
    jobs = {}
    for number in range(60):
        jobs["old"] = site.add("nightly_noop")
    jobs["failed"] = site.add(name="<b>not bold</b>", description="& so on")
    site.edit(jobs["failed"], state="RUNNING", progress=40)
    site.edit(jobs["failed"], state="FAILED", statusMessage="401 Unauthorized\n<script>alert(1)</script>")
    jobs["stopped"] = site.add("orchestrate")
    site.ok(site.api.post(f"/api/{jobs['stopped']}/stop"))
    jobs["success"] = site.add("collect_storage")
    site.edit(jobs["success"], state="RUNNING")
    site.edit(jobs["success"], state="SUCCESS", statusMessage="214 volumes")
    jobs["running"] = site.add("collect_virtual_machines", priority=10)
    site.edit(jobs["running"], state="RUNNING", progress=20, statusMessage="fetched 120 of 600")
    jobs["queued"] = site.add("orchestrate", priority=5)
    site.ok(site.api.post("/api/user", data={"username": "jane", "password": "a good password"}))
    return jobs


def login(site, jobs):
    context = site.context()
    page = site.page(context)
    page.goto(f"ui/jobs/{jobs['failed'].split('/')[1]}?x=1")
    expect(page).to_have_title("Log in · SlipStream")
    page.keyboard.type("super")
    page.keyboard.press("Tab")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Invalid credentials")
    page.get_by_label("User name").fill("super")
    page.get_by_label("Password").fill(site.password)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("FAILED")
    assert page.url.endswith("?x=1"), "one comes to where one wanted to go"


def completion(site, _jobs):
    page = site.logged_in()
    page.keyboard.press("/")
    field = page.get_by_role("combobox", name="Filter")
    expect(field).to_be_focused()
    page.keyboard.type("sta")
    expect(page.get_by_role("option").first).to_have_text("state=")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(field).to_have_value("state=")
    page.keyboard.type("'F")
    # before that all states are offered
    expect(page.get_by_role("option").first).to_contain_text("'FAILED'")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    expect(field).to_have_value("state='FAILED'")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    page.wait_for_url("**filter=*")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("combobox").fill("state=")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("expected")
    expect(page.get_by_role("combobox")).to_have_value("state=")


def stop(site, _jobs):
    job = site.add("to_be_stopped")
    page = site.logged_in()
    page.locator(f"#row-{job.split('/')[1]} a").click()
    page.get_by_role("link", name="Stop…").click()
    page.get_by_role("button", name="Stop it").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("STOPPED")
    expect(page.get_by_role("link", name="Stop…")).to_have_count(0)


def run_again(site, jobs):
    page = site.logged_in()
    page.goto(f"ui/jobs/{jobs['failed'].split('/')[1]}")
    page.get_by_role("link", name="Run again…").click()
    page.get_by_role("button", name="Run it again").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("QUEUED")
    expect(page.locator("#again")).to_contain_text("again")
    page.locator("#again a").click()
    expect(page.locator("#again")).to_contain_text("Run again as")


def run_again_from_two_windows(site, jobs):
    name = jobs["stopped"].split("/")[1]
    first = site.logged_in()
    second = site.page(first.context)
    for page in (first, second):
        page.goto(f"ui/jobs/{name}/retry")
    for page in (first, second):
        page.get_by_role("button", name="Run it again").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("QUEUED")
    assert first.url == second.url, f"{first.url} and {second.url}"
    retries = site.ok(site.api.get(f"/api/{jobs['stopped']}/retries"))
    assert retries["count"] == 1, retries


def bulk(site, _jobs):
    for _ in range(4):
        added = site.ok(site.api.post("/api/job", data=[{"action": "one_of_many"} for _ in range(500)]))
        assert len(added) > 0
    page = site.logged_in()
    page.goto("ui/jobs?filter=action%3D'one_of_many'")
    page.get_by_role("link", name="Stop 2,000…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Stop 2,000 jobs?")
    expect(page.locator("tbody tr")).to_have_count(20)
    number = page.get_by_label("Type 2,000")
    number.fill("20")
    page.get_by_role("button", name="Stop 2,000 jobs").click()
    expect(page.get_by_role("alert")).to_contain_text("Type 2000")
    expect(number).to_have_value("20")
    number.fill("2,000")
    page.get_by_role("button", name="Stop 2,000 jobs").click()
    page.wait_for_url("**/ui/operations/*")
    expect(page.get_by_role("heading", level=1)).to_contain_text("SUCCESS")
    expect(page.locator("#progress")).to_contain_text("2,000 of 2,000 stopped")
    expect(page.get_by_role("button", name="End it")).to_have_count(0)
    page.goto("ui/jobs?filter=action%3D'one_of_many'")
    expect(page.get_by_role("link", name=re.compile("^Stop [0-9]"))).to_have_count(0)
    page.get_by_role("link", name="Delete 2,000…").click()
    page.get_by_label("Type 2,000").fill("2000")
    page.get_by_role("button", name="Delete 2,000 jobs").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("SUCCESS")
    page.goto("ui/operations")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.goto("ui/jobs?filter=action%3D'one_of_many'")
    expect(page.get_by_text("No job matches.")).to_be_visible()


def live(site, _jobs):
    page = site.logged_in()
    job = site.add("watched")
    name = job.split("/")[1]
    newer = page.locator("#newer")
    expect(newer).to_have_text("Show changes: 1 more match, 1 no longer do ↑")
    page.keyboard.press(".")
    row = page.locator(f"#row-{name}")
    expect(row).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(50)
    page.keyboard.press("j")
    expect(row.locator("a")).to_be_focused()
    page.locator("#filter").fill("half typed")
    site.edit(job, state="RUNNING", progress=30)
    expect(row).to_contain_text("RUNNING")
    expect(row).to_contain_text("30 %")
    expect(page.locator("#filter")).to_have_value("half typed")
    page.get_by_role("button", name="Pause updates").click()
    site.edit(job, progress=60)
    watching = site.page(page.context)
    watching.goto(f"ui/jobs/{name}")
    expect(watching.locator("#state")).to_contain_text("60 %")
    watching.get_by_text("Document", exact=True).click()
    site.edit(job, progress=70)
    expect(watching.locator("#state")).to_contain_text("70 %")
    expect(watching.locator("#document")).to_be_visible()
    expect(row).to_contain_text("30 %")
    page.bring_to_front()
    page.get_by_role("button", name="Pause updates").click()
    expect(row).to_contain_text("70 %")
    watching.bring_to_front()
    site.ok(site.api.delete(f"/api/{job}"))
    expect(watching.locator("#banners")).to_contain_text("no longer there")


def nine_windows(site, _jobs):
    first = site.logged_in()
    pages, streams = [first], set()
    for _ in range(8):
        page = site.page(first.context)
        page.on("request", lambda request, page=page: "/ui/live?" in request.url and streams.add(page))
        page.goto("ui/jobs")
        pages.append(page)
    job = site.add("for_all")
    for page in pages:
        expect(page.locator("#newer")).to_contain_text("more match")
    assert len(streams) <= 3, "four pages have a stream, the others ask"
    site.ok(site.api.delete(f"/api/{job}"))


def logout_elsewhere(site, _jobs):
    page = site.logged_in()
    other = site.page(page.context)
    other.goto("ui/jobs")
    page.locator("#filter").fill("half typed")
    other.locator("details.user summary").click()
    other.get_by_role("button", name="Log out").click()
    expect(other).to_have_title("Log in · SlipStream")
    site.add("after_logout")
    expect(page.locator("#banners")).to_contain_text("You are logged out")
    expect(page.locator("#filter")).to_have_value("half typed")
    page.locator("#banners a").click()
    expect(page).to_have_title("Log in · SlipStream")


def behind_a_prefix(site, jobs):
    with Proxy(site.endpoint, "/a/b") as base:
        page = site.page(site.context(base=f"{base}/a/b/"))
        page.goto("./")
        page.get_by_label("User name").fill("super")
        page.get_by_label("Password").fill(site.password)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/a/b/ui/")
        page.get_by_label("Jobs by state").get_by_role("link", name="QUEUED").click()
        page.locator("tbody a").first.click()
        expect(page.locator("#head")).to_be_visible()
        page.get_by_label("Pages").get_by_role("link", name="Jobs").click()
        page.wait_for_url("**/a/b/ui/jobs")
        site.add("behind_a_prefix")
        expect(page.locator("#newer")).to_contain_text("more match")
        page.close()


def without_script(site, jobs):
    page = site.logged_in(java_script_enabled=False)
    page.locator("#filter").fill("state='FAILED'")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.goto("ui/jobs")
    page.get_by_role("link", name="Earlier →").click()
    expect(page.locator("tbody tr").first).to_be_visible()
    job = site.add("to_be_deleted")
    page.goto(f"ui/jobs/{job.split('/')[1]}")
    page.get_by_role("link", name="Delete…").click()
    page.get_by_role("button", name="Delete it").click()
    page.wait_for_url("**/ui/jobs")
    page.locator("details.user summary").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-look", "dark")
    page.locator("details.user summary").click()
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_title("Log in · SlipStream")


def session_that_ends_while_typing(site, _jobs):
    page = site.logged_in()
    page.locator("#filter").fill("half typed")
    page.locator("#filter").press("End")
    own = page.context.request
    session = site.ok(own.get("/api/session"))["sessions"][0]["id"]
    site.ok(site.api.delete(f"/api/{session}"))
    page.keyboard.type(" and more")
    site.add("after_the_end")
    expect(page.locator("#banners")).to_contain_text("You are logged out")
    expect(page.locator("#filter")).to_have_value("half typed and more")
    expect(page.locator("#filter")).to_be_focused()


def narrow_large_still_and_forced(site, jobs):
    """320 px, twice as large, without motion, in colours of the system."""
    for name, options in {
        "320": {"viewport": {"width": 320, "height": 640}},
        "zoom": {"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2},
        "still": {"reduced_motion": "reduce"},
        "forced": {"forced_colors": "active"},
    }.items():
        page = site.logged_in(**options)
        for path in ("jobs", f"jobs/{jobs['failed'].split('/')[1]}"):
            page.goto(f"ui/{path}")
            width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert width <= 0, f"{path} {name} is {width} wider than the window"
            kind = "job" if "/" in path else path
            page.screenshot(path=site.screenshots / f"{kind}-{name}.png", full_page=True)
        if name == "still":
            moves = page.evaluate("""() => {
                const row = Object.assign(document.createElement('tr'), {className: 'changed'});
                document.querySelector('tbody').append(row);
                return getComputedStyle(row).animationName;
            }""")
            assert moves == "none", moves
        if name == "forced":
            edge = page.evaluate("getComputedStyle(document.querySelector('.badge')).borderTopStyle")
            assert edge == "solid", "a badge without its colours has an edge"


CASES = [login, completion, stop, run_again, run_again_from_two_windows, bulk, live, nine_windows, logout_elsewhere,
         session_that_ends_while_typing, behind_a_prefix, without_script, narrow_large_still_and_forced]


if __name__ == "__main__":
    run(CASES, sys.argv[1:], seed)
