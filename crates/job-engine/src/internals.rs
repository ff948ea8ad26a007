//! What the tests, benchmarks, examples and fuzzers of this repository name beside the public API. It may change with any
//! version.

pub use crate::cli::{command, run};
pub use crate::config::{Config, Files};

pub mod collections {
    pub use crate::collections::{Collection, Collections};
    pub use crate::config::default_collections;
}

pub mod reference {
    pub use crate::cli::config::reference::{Entry, Table, pages, tables};
}

pub mod actions {
    pub use crate::actions::built_in;
}
pub mod distributor {
    pub use crate::distributor::configured::Configured;
    pub use crate::distributor::marks::NodeMarks;
    pub use crate::distributor::rounds::Missed;
    pub use crate::distributor::schedule::Schedule;
    pub use crate::distributor::script::found::ScriptFile;
    pub use crate::distributor::script::{Python, Script};
    pub use crate::distributor::store_marks::StoreMarks;
    pub use crate::distributor::{Deps, Distributor, MarkError, MarkRevision, Marks, lead_and_distribute};
    pub use crate::marks::HighWaterMark;
}
pub mod executor {
    pub use crate::executor::{ActionRuntime, Options, run};
    pub mod host {
        pub use crate::executor::host::Runner;
        pub use crate::executor::host::pool::{Known, Pool};
    }
    pub mod load {
        pub use crate::executor::load::folders::{Found, read_folders};
        pub use crate::executor::load::provider::{CommandProvider, HostProvider, Limits, Program, Provider, Terms};
        pub use crate::executor::load::settings::{Loading, Settings};
        pub use crate::executor::offers::{FailedToLoad, Kind, Offer, Offered, Offers};
    }
}
pub mod keeper {
    /// As in the crate itself.
    pub const KEEP: &str = crate::keeper::KEEP;
    /// As in the crate itself.
    pub const SMALL_HEAP: (&str, &str) = crate::keeper::SMALL_HEAP;
}
pub mod process {
    pub use crate::process::activity::Activity;
    pub use crate::process::address::parse_network;
    pub use crate::process::clock::{Age, Clock};
    pub use crate::process::metrics::Metrics;
    pub use crate::process::registry::{RegisteredDistributor, host_name};
    pub use crate::process::service_manager::keep_alive;
    pub use crate::process::stop::{Stop, on_signals};
    pub mod admin {
        pub use crate::process::admin::{Admin, start};
    }
    pub mod paths {
        pub use crate::process::paths::{
            DISTRIBUTORS, ELECTION, ENTRIES, EXECUTORS, GENERATION, JOB, MARKS, OWN, RECONCILED, RECONCILER, TAKEN,
            is_entry,
        };
    }
    pub mod telemetry {
        pub use crate::process::telemetry::start;
    }
}
pub mod programs {
    pub use crate::programs::api_socket::{Admission, ApiSocket, OwnJob};
    pub use crate::programs::context::Context;
    pub use crate::programs::directories::WorkDir;
    pub use crate::programs::keepers::Keepers;
    pub use crate::programs::python::write_package;
}
pub mod roles {
    pub mod executor {
        pub use crate::roles::executor::{Programs, run};
    }
    pub use crate::roles::peers::{Account, Peers};
}
pub mod server {
    pub use crate::server::auth::proxy::Origin;
    pub use crate::server::auth::sessions::Sessions;
    pub use crate::server::http::body::BODY_LIMIT;
    pub use crate::server::jobs::document::{Patch, new_document, priority_of, state_of};
    pub use crate::server::jobs::id_of_key;
    pub use crate::server::jobs::record::ledger_of;
    pub use crate::server::jobs::schema::job_violations;
    pub mod reconcile {
        pub use crate::server::reconcile::{Mended, ReconcileError, restore};
    }
    pub use crate::server::{DEFAULT_MAX_ATTEMPTS, Options, Server, Writers};
}
