//! `slipstream-job jobs`: lists, shows, stops and deletes jobs.
