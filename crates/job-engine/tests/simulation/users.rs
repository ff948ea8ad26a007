//! What users do: they add jobs, repeat what was not answered, and stop or delete some.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use slipstream_cimi::Document;

use crate::life::Life;
use crate::process::{ACTION, client};
use crate::world::World;

/// How often a user repeats an add before giving up: longer than any storm.
const PATIENCE: u32 = 1000;

/// Adds the jobs of the plan while the storm lasts.
pub async fn add_jobs(world: Arc<World>) {
    let life = Arc::new(Life::new("user".to_owned(), world.trace.begun));
    let client = client(&world, &life);
    let known = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn(meddle(world.clone(), known.clone()));
    let pause = u64::try_from(world.plan.storm.as_millis()).unwrap_or(1) / u64::from(world.plan.jobs.max(1));
    for number in 0..world.plan.jobs {
        // now and then several at once, so that something waits
        if world.below(3, "user", "waits") == 0 {
            tokio::time::sleep(Duration::from_millis(world.below(pause * 6, "user", "waits so long"))).await;
        }
        // some take longer than a session does to end
        let least = if world.below(8, "user", "takes long") == 0 { 45 } else { 1 };
        let job = json!({
            "action": ACTION,
            "targetResource": {"href": format!("work/{}", least + world.below(30, "user", "length"))},
            "priority": 100 * world.below(10, "user", "priority"),
        });
        let job: Document = job.as_object().cloned().unwrap_or_default();
        for _ in 0..PATIENCE {
            if let Ok(id) = client.add("job", &job, Some(&format!("user {number}"))).await {
                known.lock().expect("nothing panics while it pushes").push(id);
                break;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }
}

/// Stops and deletes a few jobs.
async fn meddle(world: Arc<World>, known: Arc<Mutex<Vec<String>>>) {
    let life = Arc::new(Life::new("meddler".to_owned(), world.trace.begun));
    let client = client(&world, &life);
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(10_000 + world.below(60_000, "meddler", "waits"))).await;
        let id = {
            let known = known.lock().expect("nothing panics while it looks");
            let Some(count) = u64::try_from(known.len()).ok().filter(|count| *count > 0) else { continue };
            known[usize::try_from(world.below(count, "meddler", "which")).unwrap_or(0)].clone()
        };
        let (what, outcome) = if world.below(3, "meddler", "what") == 0 {
            ("deletes", client.delete(&id).await)
        } else {
            ("stops", client.operation(&id, "stop").await.map(drop))
        };
        let outcome = outcome.map_or_else(|error| error.to_string(), |()| "done".to_owned());
        world.trace.note("meddler", &format!("{what} {id}: {outcome}"));
    }
}
