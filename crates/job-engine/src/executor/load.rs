//! What an executor offers: found in folders, said by manifests, or registered in the program itself. No program is started
//! here.

pub(super) mod conflicts;
pub mod folders;
mod manifest;
mod program;
pub mod provider;
pub mod settings;
