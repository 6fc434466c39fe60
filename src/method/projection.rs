//! What a selection by perturbation decides, one choice of each type of cell at a time (DARTS-PT: Wang et al., ICLR 2021,
//! algorithm 1).

use std::ops::Range;

use rand::seq::SliceRandom;

use super::selection::Criterion;
use crate::random::{Stream, generator};
use crate::space::alphas::Decision;
use crate::space::{Edge, Keep, Space, Wiring};

/// A choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Which candidate an edge takes.
    Candidate(usize),
    /// Which edges a node drops.
    Edges(usize),
}

/// The choices of each type of cell, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Projections {
    wirings: Vec<Wiring>,
    kept: Option<usize>,
    /// Whether none, the candidate, may be chosen.
    none_chosen: bool,
    choices: Vec<Vec<Choice>>,
}

/// One choice, and what it is between: supernets from each of which a run of mixing weights was taken.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The type of cell.
    pub cell: usize,
    choice: Choice,
    /// For each supernet, the edge and, of a choice between candidates, the candidate that it lacks.
    lacking: Vec<(usize, Option<usize>)>,
    /// The places of its mixing weights among those of all types of cells.
    pub removed: Vec<Range<usize>>,
}

impl Projections {
    /// First all edges in random order, then in random order all nodes with more edges than they keep.
    pub fn new(space: &Space, nodes: usize, seed: u64) -> Self {
        let (wirings, none_chosen) = (space.wirings(nodes), space.definition().none_chosen);
        let mut random = generator(seed, Stream::Projection, 0);
        let kept = match space.keep() {
            Keep::Strongest(kept) => Some(kept),
            Keep::All => None,
        };
        let choices = wirings.iter().map(|wiring| {
            let mut edges: Vec<_> = (0..wiring.edges.len()).map(Choice::Candidate).collect();
            let drops = |&node: &usize| kept.is_some_and(|kept| wiring.entering(node).count() > kept);
            let mut nodes: Vec<_> = (0..wiring.nodes).filter(drops).map(Choice::Edges).collect();
            edges.shuffle(&mut random);
            nodes.shuffle(&mut random);
            [edges, nodes].concat()
        });
        let choices = choices.collect();
        Projections { wirings, kept, none_chosen, choices }
    }

    /// So many choices the type of cell with the most of them has.
    pub fn count(&self) -> usize {
        self.choices.iter().map(Vec::len).max().unwrap_or_default()
    }

    /// Edges of all types of cells.
    pub fn edges(&self) -> usize {
        self.wirings.iter().map(|wiring| wiring.edges.len()).sum()
    }

    /// What is to be tried next for the choice of this index, where so much is decided of the edges of all types of cells.
    /// Each type's choice is made after that of the type before.
    pub fn trial(&self, index: usize, decided: &[Decision]) -> Option<Trial> {
        let mut places = (0, 0);
        for (cell, wiring) in self.wirings.iter().enumerate() {
            let (edge, weight) = places;
            places = (edge + wiring.edges.len(), weight + wiring.len());
            let Some(&choice) = self.choices[cell].get(index) else { continue };
            let lacking = self.lacking(wiring, choice, &decided[edge..places.0]);
            if lacking.is_empty() {
                continue;
            }
            let removed = lacking.iter().map(|&(edge, candidate)| {
                let row = &wiring.edges[edge].row;
                let row = candidate.map_or(row.clone(), |place| row.start + place..row.start + place + 1);
                weight + row.start..weight + row.end
            });
            let removed = removed.collect();
            return Some(Trial { cell, choice, lacking, removed });
        }
        None
    }

    /// What is left to choose from; nothing where the choice is made. None, the candidate, is chosen only where the space says
    /// so.
    fn lacking(&self, wiring: &Wiring, choice: Choice, decided: &[Decision]) -> Vec<(usize, Option<usize>)> {
        match choice {
            Choice::Candidate(edge) if decided[edge] == Decision::Open => {
                let candidates = wiring.edges[edge].candidates.iter().enumerate();
                let learned = candidates.filter(|(_, candidate)| self.none_chosen || !candidate.is_zero());
                learned.map(|(place, _)| (edge, Some(place))).collect()
            }
            Choice::Candidate(_) => Vec::new(),
            Choice::Edges(node) => {
                let left =
                    |&(edge, of): &(usize, &Edge)| of.node == node && decided[edge] != Decision::Dropped;
                let left: Vec<_> =
                    wiring.edges.iter().enumerate().filter(left).map(|(edge, _)| (edge, None)).collect();
                if self.kept.is_some_and(|kept| left.len() > kept) { left } else { Vec::new() }
            }
        }
    }

    /// Decides a trial by the loss and the accuracy of each of its supernets, and says what was decided. States are counted
    /// from the first of so many inputs of a cell.
    pub fn decide(
        &self,
        trial: &Trial,
        (criterion, outcomes): (Criterion, &[(f64, f64)]),
        decided: &mut [Decision],
        inputs: usize,
    ) -> String {
        let first: usize = self.wirings[..trial.cell].iter().map(|wiring| wiring.edges.len()).sum();
        let badness = |place: usize| criterion.badness(outcomes[place].0, outcomes[place].1);
        let compare = |one: &usize, other: &usize| {
            let ((one, then), (other, other_then)) = (badness(*one), badness(*other));
            one.total_cmp(&other).then(then.total_cmp(&other_then))
        };
        let places = 0..trial.lacking.len();
        // Among equals, the first candidate is taken and the last edge dropped, as the official code does.
        let place = match trial.choice {
            Choice::Candidate(_) => places.rev().max_by(compare),
            Choice::Edges(_) => places.rev().min_by(compare),
        };
        let (edge, candidate) = trial.lacking[place.expect("a trial has something to choose from")];
        decided[first + edge] = candidate.map_or(Decision::Dropped, Decision::Chosen);
        let Edge { from, node, candidates, .. } = &self.wirings[trial.cell].edges[edge];
        let to = node + inputs;
        match candidate {
            Some(place) => format!("{to}<-{from} takes {}", candidates[place]),
            None => format!("{to}<-{from} is dropped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Space;

    /// Lets the supernet that lacks one place of each trial be the worst or the best; makes all choices.
    fn decided(space: &Space, nodes: usize, seed: u64, loss: impl Fn(&Range<usize>) -> f64) -> Vec<Decision> {
        let projections = Projections::new(space, nodes, seed);
        let mut decided = vec![Decision::Open; projections.edges()];
        for index in 0..projections.count() {
            while let Some(trial) = projections.trial(index, &decided) {
                let outcomes: Vec<_> = trial.removed.iter().map(|removed| (loss(removed), 0.5)).collect();
                projections.decide(&trial, (Criterion::Accuracy, &outcomes), &mut decided, 2);
            }
            assert!(projections.trial(index, &decided).is_none());
        }
        decided
    }

    #[test]
    fn each_edge_takes_the_candidate_that_is_missed_most_and_each_node_keeps_two_edges() {
        let space = Space::darts();
        // Of each edge, the sixth candidate is missed most; of edges, the first ones.
        let loss = |removed: &Range<usize>| match removed.len() {
            1 => {
                if removed.start % 8 == 5 {
                    2.0
                } else {
                    1.0
                }
            }
            _ => -(removed.start as f64),
        };
        let found = decided(&space, 4, 3, loss);
        let wiring = space.wiring(0, 4);
        for (edge, decision) in wiring.edges.iter().zip(&found) {
            let expected = if edge.from < 2 { Decision::Chosen(5) } else { Decision::Dropped };
            assert_eq!(*decision, expected, "{}<-{}", edge.node + 2, edge.from);
        }
    }

    #[test]
    fn none_is_never_taken_and_among_equals_the_first_candidate_and_the_last_edge_counts() {
        let found = decided(&Space::darts(), 2, 5, |_| 1.0);
        // Candidate 0 is none. The second node drops the last of its three edges.
        let cell = [
            Decision::Chosen(1),
            Decision::Chosen(1),
            Decision::Chosen(1),
            Decision::Chosen(1),
            Decision::Dropped,
        ];
        assert_eq!(found, [cell, cell].concat());
    }

    #[test]
    fn the_order_depends_on_the_seed_and_holds_every_edge_and_node_once() {
        let space = Space::darts();
        let of = |seed| Projections::new(&space, 4, seed);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        for choices in of(1).choices {
            assert_eq!(choices.len(), 14 + 3);
            let edges = choices[..14].iter().map(|choice| match choice {
                Choice::Candidate(edge) => *edge,
                Choice::Edges(_) => panic!("nodes come last"),
            });
            let mut edges: Vec<_> = edges.collect();
            edges.sort_unstable();
            assert_eq!(edges, (0..14).collect::<Vec<_>>());
        }
    }
}
