//! The engine from outside: its binary, its API over a socket and its routes as a function. A module per topic.

mod access;
mod acl_matrix;
mod api;
mod bad_input;
mod bulk_add;
mod commands;
mod commands_engine;
mod commands_watch;
mod engine;
mod failing_store;
mod kill;
mod leases;
mod overview;
mod protocol;
mod python_client;
mod queries;
mod random_requests;
mod reconcile;
mod reconcile_runs;
mod reports;
mod requests;
mod services;
mod stopping;
mod support;
mod up;
mod users;
