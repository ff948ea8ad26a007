//! Sums that lose nothing, and what follows from them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A sum kept as a few numbers that do not overlap and whose sum it is exactly (Shewchuk, "Adaptive Precision
/// Floating-Point Arithmetic", 1997): what it comes to does not depend on the order in which it was made, and nothing
/// is lost where great numbers cancel.
#[derive(Clone, Debug, Default)]
struct ExactSum(Vec<f64>);

impl ExactSum {
    fn add(&mut self, number: f64) {
        let (mut carried, mut kept) = (number, 0);
        for place in 0..self.0.len() {
            let part = self.0[place];
            let (great, small) = if carried.abs() < part.abs() { (part, carried) } else { (carried, part) };
            carried = great + small;
            let lost = small - (carried - great);
            if lost != 0.0 {
                self.0[kept] = lost;
                kept += 1;
            }
        }
        self.0.truncate(if carried.is_finite() { kept } else { 0 });
        self.0.push(if carried.is_finite() { carried } else { f64::NAN });
    }

    fn add_product(&mut self, left: f64, right: f64) {
        let product = left * right;
        self.add(product);
        self.add(left.mul_add(right, -product));
    }

    /// This times a number.
    fn times(&self, factor: f64) -> Self {
        let mut product = Self::default();
        self.0.iter().for_each(|part| product.add_product(*part, factor));
        product
    }

    /// This less the product of two others.
    fn less_product(mut self, left: &Self, right: &Self) -> Self {
        for left in &left.0 {
            right.0.iter().for_each(|right| self.add_product(-left, *right));
        }
        self
    }

    /// Rounded once, to the nearest; not finite if it left the range of the numbers on the way.
    fn value(&self) -> f64 {
        let mut parts = self.0.iter().rev().copied();
        let mut sum = parts.next().unwrap_or_default();
        while let Some(part) = parts.next() {
            let great = sum;
            sum = great + part;
            let lost = part - (sum - great);
            if lost != 0.0 {
                // exactly half-way between two numbers was rounded to the even one; the parts below say which is nearer
                let below = parts.next().unwrap_or_default();
                let other = sum + lost * 2.0;
                let is_half_way = (other - sum).total_cmp(&(lost * 2.0)).is_eq();
                return if is_half_way && below != 0.0 && (below > 0.0) == (lost > 0.0) { other } else { sum };
            }
        }
        sum
    }
}

/// What the statistics of some numbers are computed from.
#[derive(Debug, Default)]
pub(super) struct Moments {
    count: u64,
    extremes: Option<(f64, f64)>,
    sum: ExactSum,
    squares: ExactSum,
}

impl Moments {
    pub fn add(&mut self, number: f64, times: u64) {
        let (least, greatest) = self.extremes.unwrap_or((number, number));
        self.extremes = Some((least.min(number), greatest.max(number)));
        self.count += times;
        let times = from_count(times);
        self.sum.add_product(number, times);
        let square = number * number;
        self.squares.add_product(square, times);
        self.squares.add_product(number.mul_add(number, -square), times);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn minimum(&self) -> Option<f64> {
        self.extremes.map(|(least, _)| least)
    }

    pub fn maximum(&self) -> Option<f64> {
        self.extremes.map(|(_, greatest)| greatest)
    }

    /// 0 without numbers.
    pub fn sum(&self) -> f64 {
        self.sum.value()
    }

    pub fn average(&self) -> Option<f64> {
        self.extremes.map(|_| self.sum.value() / from_count(self.count))
    }

    pub fn sum_of_squares(&self) -> Option<f64> {
        self.extremes.map(|_| self.squares.value())
    }

    /// Of all of them, not of a sample.
    pub fn variance(&self) -> Option<f64> {
        let count = from_count(self.count);
        let spread = || self.squares.times(count).less_product(&self.sum, &self.sum).value();
        self.extremes.map(|_| spread() / count / count)
    }

    pub fn deviation(&self) -> Option<f64> {
        self.variance().map(f64::sqrt)
    }
}

/// A number that is ordered; 0 is one number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ordered(pub f64);

impl Ordered {
    pub fn new(number: f64) -> Self {
        Self(number + 0.0)
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered {}

/// The number below which so many of a hundred lie, between two by their distance; each number comes with how often it
/// is there, and the percents in their order.
pub(super) fn percentiles(numbers: &BTreeMap<Ordered, u64>, percents: &[u8]) -> Vec<Option<f64>> {
    let Some(last) = numbers.values().sum::<u64>().checked_sub(1) else { return vec![None; percents.len()] };
    let mut numbers = numbers.iter().map(|(number, times)| (number.0, *times)).peekable();
    let mut passed = 0;
    let between = |percent: &u8| {
        let hundredths = u128::from(last) * u128::from(*percent);
        let (place, rest) = (u64::try_from(hundredths / 100).unwrap_or(last), hundredths % 100);
        while let Some((_, times)) = numbers.next_if(|(_, times)| passed + times <= place) {
            passed += times;
        }
        let mut following = numbers.clone();
        let (here, times) = following.next()?;
        let next = if place + 1 < passed + times { here } else { following.next().map_or(here, |(next, _)| next) };
        let part = from_count(u64::try_from(rest).unwrap_or_default()) / 100.0;
        let distance = next - here;
        Some(if distance.is_finite() { here + distance * part } else { here * (1.0 - part) + next * part })
    };
    percents.iter().map(between).collect()
}

#[expect(clippy::cast_precision_loss, reason = "nothing is counted beyond 2^53")]
pub(super) fn from_count(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "the calendar ends before 2^53 milliseconds")]
pub(super) fn from_milliseconds(milliseconds: i64) -> f64 {
    milliseconds as f64
}

/// None for a number that is too large for any.
#[expect(clippy::cast_possible_truncation, reason = "whole and below 2^63")]
pub(super) fn to_milliseconds(number: f64) -> Option<i64> {
    (number.abs() < 9e18).then(|| number.floor() as i64)
}
