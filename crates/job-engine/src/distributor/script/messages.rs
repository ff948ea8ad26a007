//! What a distributor and its script say to each other: lines of JSON, as between an executor and a host.

use serde::{Deserialize, Serialize};
use slipstream_action::protocol::Setup;
use slipstream_cimi::Document;

/// What a script is told.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ToScript {
    /// The first line.
    Setup(ScriptSetup),
    /// It leads from now on, until it is killed.
    Lead {},
    /// A job was added, now or before.
    Added(Added),
    /// A job was refused, and is passed over.
    Refused(Refused),
}

/// What a host is told, and where the script can ask the server.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ScriptSetup {
    #[serde(flatten)]
    pub setup: Setup,
    /// Address of the API.
    pub api: String,
    /// Its current directory.
    pub directory: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Added {
    pub number: u64,
    /// Id of the job.
    pub id: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Refused {
    pub number: u64,
    /// For people.
    pub reason: String,
}

/// What a script says.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FromScript {
    /// The first line.
    Hello(Hello),
    /// Wants a job to be added, and waits for the answer.
    Add(Add),
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Hello {
    /// The version of the protocol.
    pub protocol: u32,
    /// In which election it stands.
    pub election: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Add {
    /// 1, 2, … in a leadership.
    pub number: u64,
    pub job: Document,
}
