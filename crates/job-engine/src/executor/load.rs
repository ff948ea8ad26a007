//! What an executor offers: found in folders, said by manifests, or registered in the program itself.

pub mod offers;
pub mod provider;
