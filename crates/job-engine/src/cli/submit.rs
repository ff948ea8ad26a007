//! `slipstream-job submit`: adds a job and, if asked to, watches it to its end.
