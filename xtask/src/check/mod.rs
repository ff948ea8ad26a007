//! `cargo xtask check`.
pub fn run() -> anyhow::Result<bool> {
    Ok(true)
}
