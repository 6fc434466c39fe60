//! Pruning: an edge keeps its best candidates, and the others weigh nothing from then on (P-DARTS: Chen, Xie, Wu, Tian, ICCV
//! 2019, section 3.2).

use super::weighing::Weighing;

/// The alpha of a candidate that an edge has no more: so far below all others that it weighs nothing.
pub const GONE: f64 = -1e9;

/// Makes all but the best candidates of an edge weigh nothing. Among equals the later one is kept, as the official code does.
pub fn prune(row: &mut [f64], weighing: Weighing, keep: usize) {
    let weights = weighing.weights(row);
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&one, &other| weights[one].total_cmp(&weights[other]));
    let dropped = row.len().saturating_sub(keep);
    order[..dropped].iter().for_each(|&place| row[place] = GONE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_keeps_its_best_candidates() {
        let mut row = [0.5, -1.0, 0.5, 2.0];
        prune(&mut row, Weighing::Softmax, 2);
        assert_eq!(row, [GONE, GONE, 0.5, 2.0]);
        prune(&mut row, Weighing::Softmax, 2);
        assert_eq!(row, [GONE, GONE, 0.5, 2.0]);
        assert_eq!(Weighing::Softmax.weights(&row)[..2], [0.0, 0.0]);
    }
}
