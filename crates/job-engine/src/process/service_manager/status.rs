//! The status of a service in one line, out of what is known of it.

use std::time::Duration;

/// What a service is doing.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) life: Life,
    /// Of an executor that has had a session.
    pub(super) jobs: Option<Jobs>,
    pub(super) is_draining: bool,
    pub(super) is_drained: bool,
    /// Whom it waits for.
    pub(super) away: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Life {
    Starting,
    Changing {
        doing: &'static str,
        percent: Option<u8>,
    },
    Up,
    Stopping {
        /// What is waited for where there are no slots.
        what: &'static str,
        left: Duration,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Jobs {
    pub(super) busy: usize,
    pub(super) slots: usize,
}

impl Facts {
    /// For people; it has no full stop.
    pub(super) fn status(&self) -> String {
        let waiting = (!self.away.is_empty()).then(|| format!("waiting for {}", self.away.join(" and ")));
        match self.life {
            Life::Stopping { what, left } => self.stopping(what, left),
            Life::Changing { doing, percent: Some(percent) } => format!("{doing}: {percent} %"),
            Life::Changing { doing, percent: None } => doing.to_owned(),
            Life::Starting if !self.is_draining => waiting.unwrap_or_else(|| "starting".to_owned()),
            Life::Starting | Life::Up => {
                let working = self.working();
                match waiting {
                    Some(waiting) if self.jobs.is_none_or(|jobs| jobs.busy == 0) && !self.is_draining => waiting,
                    Some(waiting) => format!("{working}, {waiting}"),
                    None => working,
                }
            }
        }
    }

    fn working(&self) -> String {
        let busy = self.jobs.map_or(0, |jobs| jobs.busy);
        match self.jobs {
            _ if self.is_drained => "drained".to_owned(),
            _ if self.is_draining => format!("draining: {}", counted(busy)),
            Some(Jobs { busy, slots }) => format!("{busy} of {slots} jobs running"),
            None => "up".to_owned(),
        }
    }

    fn stopping(&self, what: &str, left: Duration) -> String {
        let what = match self.jobs {
            Some(Jobs { busy: 0, .. }) => return "stopping".to_owned(),
            Some(Jobs { busy, .. }) => counted(busy),
            None => what.to_owned(),
        };
        match (left.as_secs_f64().ceil(), self.jobs) {
            (0.0, None) => "stopping".to_owned(),
            (0.0, Some(_)) => format!("stopping: {what}"),
            (1.0, _) => format!("stopping: {what}, 1 second left"),
            (seconds, _) => format!("stopping: {what}, {seconds} seconds left"),
        }
    }
}

fn counted(jobs: usize) -> String {
    if jobs == 1 { "1 job".to_owned() } else { format!("{jobs} jobs") }
}

/// So many jobs are named in a line of the log.
const MOST_NAMED: usize = 10;

/// What goes on, for the end of a line of the log.
pub(super) fn names_of_jobs(jobs: impl IntoIterator<Item = (String, Option<String>)>) -> String {
    let mut names: Vec<String> = jobs
        .into_iter()
        .map(|(job, action)| action.map_or_else(|| job.clone(), |action| format!("{job} ({action})")))
        .collect();
    if names.is_empty() {
        return String::new();
    }
    let more = names.len().saturating_sub(MOST_NAMED);
    names.truncate(MOST_NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!(": {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Facts = Facts { life: Life::Up, jobs: None, is_draining: false, is_drained: false, away: Vec::new() };

    const COPYING: Life = Life::Changing { doing: "copying the database", percent: Some(41) };

    fn busy(busy: usize) -> Jobs {
        Jobs { busy, slots: 8 }
    }

    fn left(milliseconds: u64) -> Life {
        Life::Stopping { what: "open requests", left: Duration::from_millis(milliseconds) }
    }

    #[test]
    fn each_situation_has_its_status() {
        let zookeeper = vec!["ZooKeeper at zk1:2181".to_owned()];
        let both = vec!["the server at http://s".to_owned(), "ZooKeeper at zk1:2181".to_owned()];
        let rows = [
            (Facts { life: Life::Starting, ..UP }, "starting"),
            (Facts { life: COPYING, ..UP }, "copying the database: 41 %"),
            (Facts { life: Life::Changing { doing: "checking its copy", percent: None }, ..UP }, "checking its copy"),
            (Facts { life: Life::Starting, away: zookeeper.clone(), ..UP }, "waiting for ZooKeeper at zk1:2181"),
            (
                Facts { life: Life::Starting, away: both, ..UP },
                "waiting for the server at http://s and ZooKeeper at zk1:2181",
            ),
            (Facts { life: Life::Starting, is_draining: true, is_drained: true, ..UP }, "drained"),
            (UP, "up"),
            (Facts { away: zookeeper.clone(), ..UP }, "waiting for ZooKeeper at zk1:2181"),
            (Facts { jobs: Some(busy(0)), ..UP }, "0 of 8 jobs running"),
            (Facts { jobs: Some(busy(2)), ..UP }, "2 of 8 jobs running"),
            (Facts { jobs: Some(busy(0)), away: zookeeper.clone(), ..UP }, "waiting for ZooKeeper at zk1:2181"),
            (
                Facts { jobs: Some(busy(2)), away: zookeeper, ..UP },
                "2 of 8 jobs running, waiting for ZooKeeper at zk1:2181",
            ),
            (Facts { jobs: Some(busy(2)), is_draining: true, ..UP }, "draining: 2 jobs"),
            (Facts { jobs: Some(busy(1)), is_draining: true, ..UP }, "draining: 1 job"),
            (Facts { jobs: Some(busy(0)), is_draining: true, is_drained: true, ..UP }, "drained"),
            (Facts { jobs: Some(busy(3)), life: left(96_400), ..UP }, "stopping: 3 jobs, 97 seconds left"),
            (Facts { jobs: Some(busy(1)), life: left(300), is_draining: true, ..UP }, "stopping: 1 job, 1 second left"),
            (Facts { jobs: Some(busy(1)), life: left(0), ..UP }, "stopping: 1 job"),
            (Facts { jobs: Some(busy(0)), life: left(300), ..UP }, "stopping"),
            (Facts { life: left(5_000), ..UP }, "stopping: open requests, 5 seconds left"),
            (Facts { life: left(0), ..UP }, "stopping"),
        ];
        for (facts, status) in rows {
            assert_eq!(facts.status(), status, "{facts:?}");
        }
    }

    #[test]
    fn the_log_names_some_jobs_and_counts_the_others() {
        let jobs = |count: usize| (1..=count).map(|number| (format!("job/{number}"), Some("noop".to_owned())));
        assert_eq!(names_of_jobs(jobs(0)), "");
        assert_eq!(names_of_jobs([("job/1".to_owned(), None)]), ": job/1");
        assert_eq!(names_of_jobs(jobs(2)), ": job/1 (noop), job/2 (noop)");
        assert!(names_of_jobs(jobs(12)).ends_with("job/10 (noop) and 2 more"));
    }
}
