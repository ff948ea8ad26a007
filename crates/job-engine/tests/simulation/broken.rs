//! [`Broken`]: engines that break a promise on purpose. A seed must notice each of them, or its assertion is worth
//! nothing.

/// What is wrong with the engine that is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Nothing: the true engine.
    Nothing,
    /// Nobody puts entries that were not put or got lost.
    NoReconciler,
    /// A proxy takes the lease off every request of an attempt.
    StripsLease,
    /// The store writes whatever revision it is asked to replace.
    IgnoresRevision,
    /// Distributors do not hear that their session was suspended or has expired.
    HidesSuspension,
    /// High-water marks are read as empty.
    ForgetsMarks,
    /// A proxy takes the key off every add.
    StripsKey,
    /// An executor's "it waits again" is answered and not written.
    PretendsRelease,
    /// Every entry is put with one and the same priority.
    IgnoresPriority,
    /// A client panics when its connection is reset.
    PanicsOnReset,
    /// Nobody adds anything.
    NoWork,
    /// A proxy makes SUCCESS of every RUNNING.
    EndsAtOnce,
    /// A claim that is given back is answered so, and stays.
    KeepsClaims,
    /// A proxy writes the entry that counts into every request of an attempt.
    ForgesEntry,
    /// A leader waits until its clock has passed the mark, however far ahead that is.
    WaitsForMarks,
    /// No fault is injected.
    FairWeather,
}
