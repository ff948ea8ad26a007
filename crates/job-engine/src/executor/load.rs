//! What an executor offers: found in folders, said by manifests, or registered in the program itself. No program is started
//! here.

mod conflicts;
pub mod folders;
mod manifest;
pub mod offers;
mod ownership;
mod program;
pub mod provider;
#[cfg_attr(not(test), expect(dead_code, reason = "for whoever starts hosts"))]
pub mod python;
pub mod settings;
