//! Figures: printed as they come, kept as JSON, compared.

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// All of one invocation.
#[derive(Serialize, Deserialize)]
pub struct Report {
    pub commit: String,
    pub machine: String,
    pub command: String,
    pub figures: Vec<Figure>,
}

/// One figure of several runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    pub name: String,
    pub unit: String,
    pub runs: Vec<f64>,
    pub median: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promise>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
}

/// What is promised.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Promise {
    AtLeast(f64),
    AtMost(f64),
}

/// To something of the same invocation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ratio {
    pub times: f64,
    pub of: String,
}

impl Figure {
    pub fn new(name: impl Into<String>, unit: &str, runs: Vec<f64>) -> Self {
        let median = median(&runs);
        Self { name: name.into(), unit: unit.to_owned(), runs, median, promise: None, ratio: None }
    }

    pub fn at_least(self, promised: f64) -> Self {
        Self { promise: Some(Promise::AtLeast(promised)), ..self }
    }

    pub fn at_most(self, promised: f64) -> Self {
        Self { promise: Some(Promise::AtMost(promised)), ..self }
    }

    /// The ratio to another figure.
    pub fn of(self, name: &str, other: f64) -> Self {
        Self { ratio: Some(Ratio { times: self.median / other, of: name.to_owned() }), ..self }
    }
}

impl Report {
    pub fn new(commit: String, machine: String, command: String) -> Self {
        println!("command      {command}\ncommit       {commit}\nmachine      {machine}");
        Self { commit, machine, command, figures: Vec::new() }
    }

    /// Prints what the next figures are about.
    pub fn about(text: &str) {
        println!("\n{text}");
        println!("{:<38} {:>10} {:>22} {:<7} {:<18} compared", "", "median", "runs", "unit", "promised");
    }

    pub fn add(&mut self, figure: Figure) {
        let (least, most) =
            figure.runs.iter().fold((f64::MAX, f64::MIN), |(least, most), run| (least.min(*run), most.max(*run)));
        let runs = if figure.runs.len() > 1 { format!("{} to {}", number(least), number(most)) } else { String::new() };
        let promised = figure.promise.map_or(String::new(), |promise| promise.judge(figure.median));
        let ratio =
            figure.ratio.as_ref().map_or(String::new(), |ratio| format!("{} × {}", number(ratio.times), ratio.of));
        let (name, median, unit) = (&figure.name, number(figure.median), &figure.unit);
        let line = format!("{name:<38} {median:>10} {runs:>22} {unit:<7} {promised:<18} {ratio}");
        println!("{}", line.trim_end());
        self.figures.push(figure);
    }

    /// The median of a figure that was added, if it was.
    pub fn median(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.median)
    }

    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} holds no figures", path.display()))
    }
}

impl Promise {
    fn judge(self, figure: f64) -> String {
        let (sign, promised, holds) = match self {
            Self::AtLeast(promised) => ('≥', promised, figure >= promised),
            Self::AtMost(promised) => ('≤', promised, figure <= promised),
        };
        format!("{sign} {} {}", number(promised), if holds { "reached" } else { "missed" })
    }
}

/// Prints the figures of two files side by side.
pub fn compare(before: &Path, after: &Path) -> anyhow::Result<()> {
    let (before, after) = (Report::read(before)?, Report::read(after)?);
    println!("A  {}, {}, {}", before.commit, before.machine, before.command);
    println!("B  {}, {}, {}", after.commit, after.machine, after.command);
    println!("{:<38} {:>10} {:>10} {:>7} unit", "", "A", "B", "B / A");
    for figure in &after.figures {
        let Some(old) = before.median(&figure.name) else { continue };
        let (a, b, ratio) = (number(old), number(figure.median), number(figure.median / old));
        println!("{:<38} {a:>10} {b:>10} {ratio:>7} {}", figure.name, figure.unit);
    }
    Ok(())
}

/// Of an even number the higher one of the middle.
pub fn median(runs: &[f64]) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The lowest of the values that at least this percentage of them does not exceed.
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied().unwrap_or(f64::NAN)
}

/// Three digits that say something; whole numbers in groups of three.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0..1.0 => 4,
        1.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    if decimals > 0 {
        return text;
    }
    let grouped: Vec<String> =
        text.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    grouped.join(",")
}
