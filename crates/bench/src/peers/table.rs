//! The figures of a measurement, and what ours is to those of the peers in the same turn.

use super::Turn;
use super::measure::Measurement;
use super::product::Product;
use crate::figures::{Figure, Promise, Ratio, Report, median};

/// What is promised of the wait of a job, in milliseconds.
const PICKUP: f64 = 3.0;

/// A ratio of ours to a peer's, of one of the two figures of a measurement.
struct Comparison {
    figure: usize,
    /// None: whoever of the durable ones is best in the turn.
    to: Option<Product>,
    promise: Option<Promise>,
}

/// What is compared, with what is promised.
fn comparisons(measurement: Measurement) -> Vec<Comparison> {
    let rate = |to, promise| Comparison { figure: 0, to, promise };
    match measurement {
        Measurement::Drain { .. } => vec![
            rate(None, Some(Promise::AtLeast(1.2))),
            Comparison { figure: 1, to: None, promise: Some(Promise::AtMost(1.0)) },
        ],
        Measurement::Submit { submitters: super::FEW_SUBMITTERS, .. } => {
            vec![rate(Some(Product::Asynq), Some(Promise::AtLeast(1.0)))]
        }
        Measurement::Submit { .. } => vec![rate(None, None)],
        Measurement::Bulk { .. } => vec![rate(Some(Product::River), Some(Promise::AtLeast(1.0)))],
        Measurement::Pickup { .. } => vec![Comparison { figure: 1, to: None, promise: None }],
    }
}

/// Adds all of them to the report.
pub fn show(report: &mut Report, measurement: Measurement, turns: &[Turn]) {
    let name = measurement.name();
    let products: Vec<Product> = turns.first().into_iter().flat_map(|turn| turn.keys().copied()).collect();
    for (index, (suffix, unit)) in measurement.figures().into_iter().enumerate() {
        let ours = median(&runs(turns, Product::Ours, index));
        for &product in &products {
            let mut figure =
                Figure::new(format!("{name}{suffix} {}", product.name()), unit, runs(turns, product, index));
            if product != Product::Ours {
                figure = figure.of("ours", ours);
            } else if suffix == " p99" {
                figure = figure.at_most(PICKUP);
            }
            report.add(figure);
        }
    }
    for comparison in comparisons(measurement) {
        if let Some(figure) = compared(measurement, &comparison, turns) {
            report.add(figure);
        }
    }
}

fn runs(turns: &[Turn], product: Product, figure: usize) -> Vec<f64> {
    turns.iter().filter_map(|turn| turn.get(&product)).map(|seen| seen[figure]).collect()
}

/// None if there is nobody to compare with.
fn compared(measurement: Measurement, comparison: &Comparison, turns: &[Turn]) -> Option<Figure> {
    let index = comparison.figure;
    let mut others = Vec::new();
    let mut ratios = Vec::new();
    for turn in turns {
        let other = comparison.to.or_else(|| best(measurement, turn))?;
        others.push(other);
        ratios.push(turn.get(&Product::Ours)?[index] / turn.get(&other)?[index]);
    }
    // who is best in most of the turns
    let usual = others.iter().max_by_key(|one| others.iter().filter(|other| other == one).count()).copied()?;
    let one = if others.iter().all(|other| *other == usual) { usual.name() } else { "best peer" };
    let suffix = measurement.figures()[index].0;
    let mut figure = Figure::new(format!("{}{suffix} ours to {one}", measurement.name()), "times", ratios);
    figure.promise = comparison.promise;
    let times = median(&runs(turns, Product::Ours, index)) / median(&runs(turns, usual, index));
    figure.ratio = Some(Ratio { times, of: format!("median of {}", usual.name()) });
    Some(figure)
}

/// The durable peer with the highest rate, or with the shortest wait.
fn best(measurement: Measurement, turn: &Turn) -> Option<Product> {
    let merit = |product: &Product| match measurement {
        Measurement::Pickup { .. } => -turn[product][1],
        _ => turn[product][0],
    };
    let peers = turn.keys().copied().filter(|product| Product::PEERS.contains(product));
    peers.max_by(|one, other| merit(one).total_cmp(&merit(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Measurement = Measurement::Drain { jobs: 1 };

    fn turn(ours: [f64; 2], graphile: [f64; 2], river: [f64; 2]) -> Turn {
        // faster, but not durable
        let memory = (Product::AsynqMemory, [1_000.0, 0.0]);
        Turn::from([(Product::Ours, ours), (Product::Graphile, graphile), (Product::River, river), memory])
    }

    #[test]
    fn ours_is_compared_with_the_best_of_each_turn() {
        let turns = [turn([12.0, 1.0], [10.0, 2.0], [6.0, 1.0]), turn([9.0, 1.0], [10.0, 4.0], [18.0, 1.0])];
        let figures: Vec<Figure> =
            comparisons(DRAIN).iter().filter_map(|comparison| compared(DRAIN, comparison, &turns)).collect();
        assert_eq!(figures[0].runs, [1.2, 0.5]);
        assert_eq!(figures[0].name, "drain-1 ours to best peer");
        assert_eq!(figures[1].runs, [0.5, 1.0], "processor time is compared with that of the fastest peer");
        let always = compared(DRAIN, &comparisons(DRAIN)[0], &turns[..1]).unwrap();
        assert_eq!(always.name, "drain-1 ours to graphile");
        assert_eq!(format!("{:.2}", always.ratio.unwrap().times), "1.20");
    }

    #[test]
    fn the_shortest_wait_is_the_best() {
        let pickup = Measurement::Pickup { jobs: 1 };
        assert_eq!(best(pickup, &turn([1.0, 1.0], [9.0, 2.0], [1.0, 3.0])), Some(Product::Graphile));
    }

    #[test]
    fn a_peer_that_is_missing_is_not_compared() {
        let bulk = Measurement::Bulk { jobs: 1 };
        let alone = [Turn::from([(Product::Ours, [1.0, 1.0])])];
        assert!(compared(bulk, &comparisons(bulk)[0], &alone).is_none());
        assert!(compared(DRAIN, &comparisons(DRAIN)[0], &alone).is_none());
    }
}
