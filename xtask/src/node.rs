//! Node.js, in which `docs/tutorial-first-action.md` writes a host.

use crate::commands::exists;
use crate::debian;

/// Makes sure that Node.js is there. Quick when it is.
pub fn set_up() -> anyhow::Result<()> {
    if exists("node") {
        println!("up to date: Node.js");
        return Ok(());
    }
    debian::install("Node.js", &["nodejs"])
}
