//! What the edges of a supernet have beside their candidates.

/// How an edge of a supernet carries a state to its node. The default is the edge of DARTS: the weighted sum of its
/// candidates and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeShape {
    /// Whether each image of what an edge brings has a factor, of drop path.
    pub drop_path: bool,
}
