//! The `state_dict` of the official PyTorch implementation as safetensors:
//! `NetworkCIFAR(C, num_classes, layers, auxiliary, genotype)` of DARTS takes it with `load_state_dict`, and of the space of
//! NAS-Bench-201 `TinyNetwork(C, N, genotype, num_classes)` of AutoDL-Projects.
//!
//! Names, shapes and layouts are those of a model file; the metadata says in the official words which network they
//! are of.

use serde_json::{Map, Value, json};

use crate::space::layout::Notation;
use crate::tensor_file;
use crate::train::Model;

/// The key of the metadata: a JSON object of the arguments of the class of this name, the names of the classes, and
/// mean and deviation for torchvision's `Normalize`. One key, since more would be written in any order.
pub const KEY: &str = "NetworkCIFAR";
/// The key where cells are written as edges.
pub const KEY_OF_EDGES: &str = "TinyNetwork";

/// The bytes of the file: all weights, running statistics and `num_batches_tracked`, those of the auxiliary head
/// included where the model was trained with one.
///
/// # Errors
/// Tensors that cannot be written.
pub fn bytes(model: &Model) -> Result<Vec<u8>, String> {
    let own = &model.description;
    let white = f32::from(own.white);
    let space = &own.genotype.space;
    let (key, layers) = match space.notation() {
        Notation::Literal => (KEY, ("layers", json!(own.cells))),
        Notation::Edges => (KEY_OF_EDGES, ("N", json!(own.cells / space.stacking().cells_step()))),
    };
    let mut network =
        vec![("C", json!(own.init_channels)), ("num_classes", json!(own.class_names.len())), layers];
    if space.stacking().has_auxiliary() {
        network.push(("auxiliary", json!(own.auxiliary)));
    }
    network.extend([
        ("genotype", json!(own.genotype.to_string())),
        ("class_names", json!(own.class_names)),
        ("mean", json!(own.mean.iter().map(|mean| mean / white).collect::<Vec<_>>())),
        ("std", json!(own.deviation.iter().map(|deviation| deviation / white).collect::<Vec<_>>())),
    ]);
    let network: Map<_, _> = network.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    tensor_file::serialize(&model.tensors(), key, Value::from(network).to_string())
        .map_err(|error| format!("cannot be exported: {error}"))
}
