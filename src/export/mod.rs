//! A trained model for other programs.
//!
//! Read in this order:
//!
//! 1. [`state_dict`]: the weights for the official PyTorch implementation.
//! 2. `protobuf`: the messages of ONNX, as far as they are used.
//! 3. `graph`: nodes and constants under construction.
//! 4. [`onnx`]: the derived network as an ONNX model.

mod graph;
pub mod onnx;
mod protobuf;
pub mod state_dict;

use std::fmt;
use std::str::FromStr;

use crate::train::Model;

/// What a model can be exported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A graph that onnxruntime and others run.
    Onnx,
    /// The `state_dict` of the official PyTorch implementation.
    Safetensors,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 2] = [Format::Onnx, Format::Safetensors];

    /// What the name of an exported file ends in. Model files are safetensors, too, which a `state_dict` must not be
    /// taken for.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Onnx => "onnx",
            Format::Safetensors => "state_dict.safetensors",
        }
    }

    /// The bytes of the exported file: for a model always the same. Errors are sentences about the model.
    pub fn bytes(self, model: &Model) -> Result<Vec<u8>, String> {
        match self {
            Format::Onnx => onnx::bytes(model),
            Format::Safetensors => state_dict::bytes(model),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Format::Onnx => "onnx",
            Format::Safetensors => "safetensors",
        })
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Format::ALL.into_iter().find(|format| format.to_string() == text);
        found.ok_or_else(|| "expected onnx or safetensors".to_owned())
    }
}
