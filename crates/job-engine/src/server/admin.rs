//! What administrators see and set right.

pub mod marks;
pub mod overview;
