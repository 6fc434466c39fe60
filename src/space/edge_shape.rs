//! What the edges of a supernet have beside their candidates.

use crate::nn::Masks;

/// How an edge of a supernet carries a state to its node. The default is the edge of DARTS: the weighted sum of its
/// candidates and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeShape {
    /// Whether each image of what an edge brings has a factor, of drop path.
    pub drop_path: bool,
    /// One of so many channels goes through the candidates, and the others pass them by (partial channel connections: Xu et
    /// al., PC-DARTS, ICLR 2020, section 3.1); with 1, all go through. Divides the channels of every cell.
    pub partial: usize,
    /// Whether an edge has an auxiliary skip (Chu et al., DARTS-, ICLR 2021): beside its candidates the identity, at stride 2 a
    /// factorized reduction of its own, with a weight that does not depend on alphas. It is in no genotype.
    pub auxiliary_skip: bool,
    /// Whether elements of skip connections at stride 1 are dropped, and where their masks come from.
    pub skip_dropout: Option<Masks>,
}

impl Default for EdgeShape {
    fn default() -> Self {
        EdgeShape { drop_path: false, partial: 1, auxiliary_skip: false, skip_dropout: None }
    }
}

impl EdgeShape {
    /// Whether channels pass the candidates by, so that an edge has a weight for these.
    pub fn passes(self) -> bool {
        self.partial > 1
    }
}
