//! `slipstream-job executors`: who does jobs.

use slipstream_cimi::overview::executors::loaded::FailedToLoad;
use slipstream_cimi::overview::executors::{Executor, Executors, PLACE};

use super::options::connection::ShowOptions;
use super::terminal::{Screen, one_line};

/// Most lines of an executor: the names of its actions may be many.
const MOST_LINES: usize = 3;

/// Lists executors.
pub async fn executors(options: ShowOptions) -> anyhow::Result<()> {
    let Executors { executors, .. } = options.connection.view(PLACE).await?;
    options.print(&executors, |screen| {
        let parts = std::iter::once(render_executors(&executors, screen)).chain(render_failed(&executors, screen));
        parts.collect::<Vec<_>>().join("\n\n")
    })
}

/// What failed to load at which executor, if anything did.
pub fn render_failed(executors: &[Executor], screen: Screen) -> Option<String> {
    let lines = executors.iter().flat_map(|Executor { registered, .. }| {
        let name = one_line(&registered.name);
        let failed = registered.loaded.failed.iter().map(|failed| failure(Some(&name), failed, screen));
        let besides = (registered.loaded.failed_besides > 0)
            .then(|| format!("  {name}: {} more", registered.loaded.failed_besides));
        failed.chain(besides).collect::<Vec<_>>()
    });
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then(|| format!("{}\n{}", screen.bold("failed to load"), lines.join("\n")))
}

/// What failed to load, at which executor, and why.
pub fn failure(executor: Option<&str>, failed: &FailedToLoad, screen: Screen) -> String {
    let executor = executor.map(|name| format!("{name}: ")).unwrap_or_default();
    let reason = screen.wrapped(&one_line(&failed.reason), 6);
    format!("  {executor}{}\n{reason}", one_line(&failed.place()))
}

fn render_executors(executors: &[Executor], screen: Screen) -> String {
    if executors.is_empty() {
        return "no executors".to_owned();
    }
    let row = |Executor { registered, busy, .. }: &Executor| {
        vec![
            one_line(&registered.name),
            one_line(&registered.process.host),
            registered.process.id.to_string(),
            one_line(&registered.process.version),
            registered.slots.to_string(),
            busy.map_or_else(|| "?".to_owned(), |busy| busy.to_string())
                + if registered.draining { ", draining" } else { "" },
            one_line(&registered.actions.join(", ")),
        ]
    };
    let titles = ["EXECUTOR", "HOST", "PID", "VERSION", "SLOTS", "BUSY", "ACTIONS"];
    screen.tall_listing(&titles, &[0, 1, 6], executors.iter().map(row).collect(), MOST_LINES)
}

#[cfg(test)]
pub mod tests {
    use slipstream_cimi::overview::executors::loaded::{Kind, Loaded, Source};
    use slipstream_cimi::overview::executors::{Process, RegisteredExecutor};

    use super::*;

    fn executor(name: &str, slots: usize, busy: Option<usize>, actions: &[&str]) -> Executor {
        let process = Process { host: format!("{name}.example.org"), id: 4711, version: "0.1.0".to_owned() };
        let registered = RegisteredExecutor {
            name: name.to_owned(),
            process,
            slots,
            actions: actions.iter().map(ToString::to_string).collect(),
            loaded: Loaded::default(),
            begun: "2026-11-24T12:00:00Z".parse().unwrap(),
            passed_over: Vec::new(),
            draining: false,
        };
        Executor { claimant: "0a".to_owned(), registered, busy }
    }

    pub fn two() -> [Executor; 2] {
        let many = ["cleanup_jobs", "dummy_test_action", "noop", "orchestrate_everything_that_there_is"];
        let [mut one, mut other] = [executor("node-1", 8, Some(3), &many), executor("node-2", 1000, None, &["noop"])];
        let source = |kind| Source { kind, file: "/etc/slipstream/actions/x".into() };
        one.registered.loaded.sources.insert(many[3].to_owned(), source(Kind::Python));
        let failed =
            |file: &str, line, reason: &str| FailedToLoad { file: file.into(), line, reason: reason.to_owned() };
        let size = "`memory`: `1 GB` is not a size, write a whole number of KiB, MiB, GiB or TiB, such as \"512 MiB\"";
        other.registered.loaded = Loaded {
            sources: [("noop".to_owned(), source(Kind::Command))].into(),
            failed: vec![
                failed("/etc/slipstream/actions/backup.toml", Some(4), size),
                failed("/etc/slipstream/actions/b.sh", None, "it is not executable"),
            ],
            failed_besides: 3,
        };
        [one, other]
    }

    #[test]
    fn executors_fit_80_columns() {
        let expected = "\
EXECUTOR  HOST                PID   VERSION  SLOTS  BUSY  ACTIONS
node-1    node-1.example.org  4711  0.1.0    8      3     cleanup_jobs,
                                                          dummy_test_action,
                                                          noop, orchestrate_eve…
node-2    node-2.example.org  4711  0.1.0    1000   ?     noop";
        assert_eq!(render_executors(&two(), Screen { width: Some(80), colours: false }), expected);
        assert_eq!(render_executors(&[], Screen { width: Some(80), colours: false }), "no executors");
    }

    #[test]
    fn what_failed_to_load_is_shown_below_and_fits_80_columns() {
        let expected = "\
failed to load
  node-2: /etc/slipstream/actions/backup.toml:4
      `memory`: `1 GB` is not a size, write a whole number of KiB, MiB, GiB or
      TiB, such as \"512 MiB\"
  node-2: /etc/slipstream/actions/b.sh
      it is not executable
  node-2: 3 more";
        let screen = Screen { width: Some(80), colours: false };
        assert_eq!(render_failed(&two(), screen).as_deref(), Some(expected));
        assert_eq!(render_failed(&two()[..1], screen), None);
    }
}
