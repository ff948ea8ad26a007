//! `slipstream-job`.
fn main() {}
