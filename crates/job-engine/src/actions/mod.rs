//! The actions that come with the engine.
