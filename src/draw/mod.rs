//! Cells and curves as drawings.
//!
//! Read in this order:
//!
//! 1. [`drawing`]: a cell as text.
//! 2. [`cell_graph`]: where a drawing of a cell has its boxes and lines; [`cell_svg`]: the drawing.
//! 3. Curves: [`plot`].

pub mod cell_graph;
pub mod cell_svg;
pub mod drawing;
pub mod plot;
