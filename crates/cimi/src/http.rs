//! The [`Transport`](crate::client::Transport) over real HTTP.
