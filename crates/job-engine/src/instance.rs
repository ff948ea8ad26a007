//! One instance of the engine on this machine: its data directory with lock and password, its store, its listener.

pub(crate) mod data_dir;
pub(crate) mod premises;
