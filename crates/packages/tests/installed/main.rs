//! Packages as package managers install, upgrade and remove them, in copies of a small Debian: DEBs by its own `dpkg`, RPMs by
//! Debian's `rpm`, which knows of no package there (`--nodeps`). `cargo xtask test` makes the Debian.

mod booted;
mod life;
mod original;
mod original_options;
mod root;
mod services;
