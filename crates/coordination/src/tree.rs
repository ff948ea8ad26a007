//! The node tree as a pure state machine.
