//! Whether the order of an edge's convolutions has become stable.

use crate::space::alphas::Alphas;
use crate::space::operation::Block;
use crate::space::pruning::GONE;

/// What was seen if the order is the same as in so many epochs before. The memory holds in how many epochs it stayed the
/// same, and the place of each alpha in it.
pub(super) fn reached(epochs: usize, alphas: &Alphas, memory: &mut [f64]) -> Option<String> {
    let [stayed, places @ ..] = memory else { unreachable!("a number leads the places") };
    let ranking = ranking(alphas);
    if ranking.iter().all(|&place| place == 0.0) {
        // No edge has an order that could change.
        return None;
    }
    *stayed = if ranking == places { *stayed + 1.0 } else { 0.0 };
    places.copy_from_slice(&ranking);
    (*stayed >= epochs as f64).then(|| {
        let counted = crate::readable::counted(epochs, "epoch");
        format!("the order of each edge's convolutions has not changed for {counted}")
    })
}

/// The place of each alpha of a convolution among those of its edge, counted from 1 for the largest; 0 for the others, and
/// where an edge has one convolution alone.
fn ranking(alphas: &Alphas) -> Vec<f64> {
    let mut places = Vec::new();
    for (cell, table) in alphas.tables.iter().enumerate() {
        for edge in alphas.wiring(cell).edges {
            let row = &table[edge.row.clone()];
            let learns = |candidate: usize| {
                row[candidate] != GONE
                    && matches!(
                        edge.candidates[candidate].block,
                        Block::Separable { .. } | Block::Convolution { .. }
                    )
            };
            let several = (0..row.len()).filter(|&candidate| learns(candidate)).count() > 1;
            let place = |candidate: usize| {
                let before = |&other: &usize| {
                    learns(other)
                        && (row[other] > row[candidate]
                            || (row[other] == row[candidate] && other < candidate))
                };
                if several && learns(candidate) {
                    1.0 + (0..row.len()).filter(before).count() as f64
                } else {
                    0.0
                }
            };
            places.extend((0..row.len()).map(place));
        }
    }
    places
}
