//! The engine from outside: its binary, its API over a socket and its routes as a function. A module per topic.

mod access;
mod api;
mod bad_input;
mod failing_store;
mod kill;
mod leases;
mod python_client;
mod random_requests;
mod reconcile;
mod reconcile_runs;
mod requests;
mod stopping;
mod support;
mod up;
