//! The engine from outside: its binary, its API over a socket and its routes as a function. A module per topic.

mod api;
mod bad_input;
mod kill;
mod leases;
mod python_client;
mod reconcile;
mod support;
mod up;
