//! Pages of the dashboard over an API that answers any documents: well-formed HTML without a tag that no page writes.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use slipstream_fuzz::html;
use slipstream_fuzz::scripted::{ADMINISTRATOR, World, jobs};

fuzz_target!(|input: &[u8]| {
    // Input that ends in the middle of a document is not worth anything.
    if let Ok((job, ledger, filter)) = answers(&mut Unstructured::new(input)) {
        look(job, ledger, &filter);
    }
});

fn answers(input: &mut Unstructured) -> Result<(Value, Value, String)> {
    let ledger = json!({
        "attempts": slipstream_fuzz::any_json(input)?, "refused": slipstream_fuzz::any_json(input)?,
        "refused-total": slipstream_fuzz::any_json(input)?,
    });
    Ok((slipstream_fuzz::shown_job(input)?, ledger, input.arbitrary()?))
}

fn look(job: Value, ledger: Value, filter: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let world = World::of(ADMINISTRATOR, move |_, path| match path {
        "/api/job" => Some((200, jobs(std::slice::from_ref(&job)))),
        "/api/job/0a/ledger" => Some((200, ledger.clone())),
        _ => Some((200, job.clone())),
    });
    let filter: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
    let paths = ["jobs", "jobs/0a", "jobs/0a/stop", "users", "users/0a", "session", "about", "queue", "executors"];
    for path in paths.map(str::to_owned).into_iter().chain([format!("jobs?filter={filter}")]) {
        html::check(&runtime.block_on(world.get(&format!("/ui/{path}"))).text);
    }
}
