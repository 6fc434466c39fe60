//! The `state_dict` of the official PyTorch implementation as safetensors:
//! `NetworkCIFAR(C, num_classes, layers, auxiliary, genotype)` takes it with `load_state_dict`.
//!
//! Names, shapes and layouts are those of a model file; the metadata says in the official words which network they
//! are of.

use serde_json::json;

use crate::tensor_file;
use crate::train::Model;

/// The key of the metadata: a JSON object of the arguments of the class of this name, the names of the classes, and
/// mean and deviation for torchvision's `Normalize`. One key, since more would be written in any order.
pub const KEY: &str = "NetworkCIFAR";

/// The bytes of the file: all weights, running statistics and `num_batches_tracked`, those of the auxiliary head
/// included where the model was trained with one.
///
/// # Errors
/// Tensors that cannot be written.
pub fn bytes(model: &Model) -> Result<Vec<u8>, String> {
    let own = &model.description;
    let white = f32::from(own.white);
    let network = json!({
        "C": own.init_channels,
        "num_classes": own.class_names.len(),
        "layers": own.cells,
        "auxiliary": own.auxiliary,
        "genotype": own.genotype.to_string(),
        "class_names": own.class_names,
        "mean": own.mean.iter().map(|mean| mean / white).collect::<Vec<_>>(),
        "std": own.deviation.iter().map(|deviation| deviation / white).collect::<Vec<_>>(),
    });
    tensor_file::serialize(&model.tensors(), KEY, network.to_string())
        .map_err(|error| format!("cannot be exported: {error}"))
}
