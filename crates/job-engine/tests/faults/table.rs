//! [`Table`]: what all seeds of each kind of fault came to.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use crate::audit::Figures;
use crate::plan::Kind;
use crate::run::Outcome;

/// A line for each kind of fault.
pub struct Table(BTreeMap<Kind, (u64, Figures)>);

impl Table {
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mut lines: BTreeMap<Kind, (u64, Figures)> = BTreeMap::new();
        for Outcome { plan, figures, .. } in outcomes {
            let (seeds, sum) = lines.entry(plan.kind).or_default();
            *seeds += 1;
            sum.injected += figures.injected;
            sum.done += figures.done;
            sum.lost += figures.lost;
            sum.extra += figures.extra;
            sum.refused += figures.refused;
            sum.recovery = sum.recovery.max(figures.recovery);
        }
        Self(lines)
    }

    /// How many writes were refused because they came too late.
    pub fn refused(&self) -> u64 {
        self.0.values().map(|(_, figures)| figures.refused).sum()
    }
}

impl Display for Table {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "| Fault | Seeds | Injected | Jobs done | Lost | Extra attempts | Late writes refused | Worst recovery |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|"
        )?;
        for (kind, (seeds, Figures { injected, done, lost, extra, refused, recovery })) in &self.0 {
            let (name, recovery) = (kind.name(), recovery.as_millis());
            writeln!(
                formatter,
                "| {name} | {seeds} | {injected} | {done} | {lost} | {extra} | {refused} | {recovery} ms |"
            )?;
        }
        Ok(())
    }
}
