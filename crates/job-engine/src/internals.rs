//! What the tests, benchmarks, examples and fuzzers of this repository name beside the public API. It may change with any
//! version.

pub mod actions {
    pub use crate::actions::built_in;
}
pub mod api {
    pub mod ledger {
        pub use crate::api::ledger::{Attempt, Ledger, Outcome, RefusedWrite};
    }
    pub mod queue {
        pub use crate::api::queue::MOST_LISTED;
    }
    pub mod user {
        pub use crate::api::user::ADMINISTRATOR;
    }
}
pub mod cli {
    pub use crate::cli::run;
}
pub mod config {
    pub use crate::config::Config;
}
pub mod distributor {
    pub mod configured {
        pub use crate::distributor::configured::Configured;
    }
    pub mod marks {
        pub use crate::distributor::marks::NodeMarks;
    }
    pub mod rounds {
        pub use crate::distributor::rounds::Missed;
    }
    pub mod schedule {
        pub use crate::distributor::schedule::Schedule;
    }
    pub mod store_marks {
        pub use crate::distributor::store_marks::StoreMarks;
    }
    pub use crate::distributor::{Deps, Distributor, MarkError, MarkRevision, Marks, lead_and_distribute};
}
pub mod executor {
    pub use crate::executor::{ActionRuntime, Options, run};
}
pub mod marks {
    pub use crate::marks::HighWaterMark;
}
pub mod process {
    pub mod address {
        pub use crate::process::address::parse_network;
    }
    pub mod clock {
        pub use crate::process::clock::{Age, Clock};
    }
    pub mod paths {
        pub use crate::process::paths::{
            DISTRIBUTORS, ELECTION, ENTRIES, EXECUTORS, GENERATION, JOB, MARKS, OWN, RECONCILED, RECONCILER, TAKEN,
            is_entry,
        };
    }
    pub mod registry {
        pub use crate::process::registry::{RegisteredDistributor, RegisteredExecutor, host_name};
    }
    pub mod stop {
        pub use crate::process::stop::{Stop, on_signals};
    }
    pub mod telemetry {
        pub use crate::process::telemetry::start;
    }
}
pub mod roles {
    pub mod executor {
        pub use crate::roles::executor::run;
    }
    pub mod peers {
        pub use crate::roles::peers::{Account, Peers};
    }
}
pub mod server {
    pub mod auth {
        pub mod proxy {
            pub use crate::server::auth::proxy::Origin;
        }
        pub mod sessions {
            pub use crate::server::auth::sessions::Sessions;
        }
    }
    pub mod http {
        pub mod body {
            pub use crate::server::http::body::BODY_LIMIT;
        }
    }
    pub mod jobs {
        pub mod document {
            pub use crate::server::jobs::document::{Patch, new_document, priority_of, state_of};
        }
        pub mod record {
            pub use crate::server::jobs::record::ledger_of;
        }
        pub mod schema {
            pub use crate::server::jobs::schema::job_violations;
        }
        pub use crate::server::jobs::id_of_key;
    }
    pub mod reconcile {
        pub use crate::server::reconcile::{Mended, ReconcileError, restore};
    }
    pub use crate::server::{DEFAULT_MAX_ATTEMPTS, Options, Server, Writers};
}
