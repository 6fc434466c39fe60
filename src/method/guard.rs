//! Guards: what ends a search before its last epoch. A guard sees what an epoch leaves and never touches an optimiser. The
//! result of a search that a guard ends is that of the epoch behind which it ends.

use super::{Part, named, number};
use crate::space::Operation;
use crate::space::alphas::Alphas;
use crate::space::genotype::Genotype;
use crate::space::operation::Block;

/// What ends a search (DARTS+: Liang et al., arXiv 1909.06035, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The normal cell of the genotype holds at least so many skip connections.
    Skips(usize),
    /// For so many epochs the order of the alphas of an edge's convolutions has stayed the same on every edge.
    Ranking(usize),
}

/// The guards by their names.
static GUARDS: [Part<Option<Guard>>; 3] = [
    Part { name: "none", takes: "", make: |_| Some(None) },
    Part { name: "skips", takes: "N", make: |text| number(text, |&n| n > 0).map(|n| Some(Guard::Skips(n))) },
    Part {
        name: "ranking",
        takes: "N",
        make: |text| number(text, |&n| n > 0).map(|n| Some(Guard::Ranking(n))),
    },
];

/// The guard that a text names; none for `none`.
///
/// # Errors
/// The text names none; the sentence says what is expected.
pub fn guard(text: &str) -> Result<Option<Guard>, String> {
    named(&GUARDS, text)
}

/// What a guard knows of the epochs before; a run that goes on needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// `[2 + alphas]`: 1 where the guard has ended the search, in how many epochs the order stayed the same, and the place of
    /// each alpha in it. Zeros at the start.
    pub state: Vec<f64>,
}

impl Watch {
    /// At the start of a search of so many alphas.
    pub fn new(alphas: usize) -> Self {
        Watch { state: vec![0.0; 2 + alphas] }
    }

    /// Whether the guard has ended the search.
    pub fn ended(&self) -> bool {
        self.state[0] == 1.0
    }

    /// Shows the guard what an epoch leaves.
    pub fn show(&mut self, guard: Guard, genotype: &Genotype, alphas: &Alphas) {
        let [ended, stayed, places @ ..] = &mut self.state[..] else { unreachable!("two numbers lead") };
        let reached = match guard {
            Guard::Skips(most) => genotype.cells[0].count(Operation::is_skip) >= most,
            Guard::Ranking(epochs) => {
                let ranking = ranking(alphas);
                let same = ranking == places;
                *stayed = if same { *stayed + 1.0 } else { 0.0 };
                places.copy_from_slice(&ranking);
                *stayed >= epochs as f64
            }
        };
        *ended = f64::from(u8::from(reached));
    }
}

/// The place of each alpha of a convolution among those of its edge, counted from 1 for the largest, and 0 for the others.
fn ranking(alphas: &Alphas) -> Vec<f64> {
    let mut places = Vec::new();
    for (cell, table) in alphas.tables.iter().enumerate() {
        for edge in alphas.wiring(cell).edges {
            let row = &table[edge.row.clone()];
            let learns =
                |candidate: usize| matches!(edge.candidates[candidate].block, Some(Block::Separable { .. }));
            let place = |candidate: usize| {
                let before = |&other: &usize| {
                    learns(other)
                        && (row[other] > row[candidate]
                            || (row[other] == row[candidate] && other < candidate))
                };
                if learns(candidate) { 1.0 + (0..row.len()).filter(before).count() as f64 } else { 0.0 }
            };
            places.extend((0..row.len()).map(place));
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Space;
    use crate::space::derivation::derive;

    fn alphas(skips: usize) -> Alphas {
        let mut alphas = Alphas::zeros(Space::darts(), 2);
        // Node 0 keeps both of its edges; candidate 3 is the identity.
        (0..skips).for_each(|edge| alphas.tables[0][8 * edge + 3] = 1.0);
        alphas
    }

    fn watch(guard: Guard, epochs: &[Alphas]) -> Vec<bool> {
        let mut watch = Watch::new(80);
        let ended = epochs.iter().map(|alphas| {
            watch.show(guard, &derive(alphas), alphas);
            watch.ended()
        });
        ended.collect()
    }

    #[test]
    fn skip_connections_of_the_normal_cell_end_a_search() {
        let guard = guard("skips 2").unwrap().unwrap();
        assert_eq!(watch(guard, &[alphas(0), alphas(1), alphas(2)]), [false, false, true]);
        let mut reduce = alphas(2);
        reduce.tables.swap(0, 1);
        assert_eq!(watch(guard, &[reduce]), [false]);
    }

    #[test]
    fn a_stable_order_of_the_convolutions_ends_a_search() {
        let guard = guard("ranking 2").unwrap().unwrap();
        let other = |candidate: usize| {
            let mut other = alphas(0);
            other.tables[1][candidate] = 1.0;
            other
        };
        // The first epoch has none before it. The identity is no convolution; candidate 5 is one.
        assert_eq!(watch(guard, &[alphas(0), alphas(1), alphas(0)]), [false, false, true]);
        assert_eq!(watch(guard, &[alphas(0), other(3), other(3)]), [false, false, true]);
        assert_eq!(
            watch(guard, &[alphas(0), alphas(0), other(5), other(5), other(5)]),
            [false, false, false, false, true]
        );
    }

    #[test]
    fn a_text_names_a_guard() {
        assert_eq!(guard("none").unwrap(), None);
        for text in ["", "skips", "skips 0", "skips two", "ranking -1", "none 1"] {
            assert_eq!(guard(text).unwrap_err(), "none, skips N or ranking N");
        }
    }
}
