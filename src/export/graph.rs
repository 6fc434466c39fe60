//! An ONNX graph under construction: nodes in the order in which they are computed, and constants.

use std::collections::HashSet;

use super::protobuf::{
    Attribute, AttributeType, DataType, Dimension, Graph, Node, Tensor, TensorShape, TensorType, Type,
    ValueInfo,
};

/// The name of a dimension that is not fixed.
const BATCH: &str = "batch";

/// Nodes and constants.
#[derive(Default)]
pub struct Builder {
    nodes: Vec<Node>,
    constants: Vec<Tensor>,
}

impl Builder {
    /// Adds a node with one result, and gives the name of the result. Where an equal node is there already, that one's
    /// result is used: operations on edges that leave a state share its ReLU and its pools.
    pub fn node(&mut self, name: &str, operator: &str, inputs: &[&str], attributes: &[Attribute]) -> String {
        let equal =
            |node: &&Node| node.op_type == operator && node.input == inputs && node.attribute == attributes;
        if let Some(node) = self.nodes.iter().find(equal) {
            return node.output[0].clone();
        }
        self.nodes.push(Node {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: operator.to_owned(),
            attribute: attributes.to_vec(),
        });
        name.to_owned()
    }

    /// Adds a constant and gives its name.
    pub fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        self.constants.push(Tensor {
            dims: shape.iter().map(|&side| side as i64).collect(),
            data_type: DataType::Float.into(),
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        });
        name.to_owned()
    }

    /// The graph, without nodes and constants that no output depends on.
    pub fn finish(mut self, input: ValueInfo, outputs: Vec<ValueInfo>) -> Graph {
        let mut needed: HashSet<String> = outputs.iter().map(|output| output.name.clone()).collect();
        let mut nodes = Vec::new();
        while let Some(node) = self.nodes.pop() {
            if node.output.iter().any(|output| needed.contains(output)) {
                needed.extend(node.input.iter().cloned());
                nodes.push(node);
            }
        }
        nodes.reverse();
        self.constants.retain(|constant| needed.contains(&constant.name));
        Graph {
            node: nodes,
            name: "darts".to_owned(),
            initializer: self.constants,
            input: vec![input],
            output: outputs,
        }
    }
}

/// An attribute that is a number.
pub fn number(name: &str, value: usize) -> Attribute {
    Attribute {
        name: name.to_owned(),
        i: Some(value as i64),
        ints: Vec::new(),
        kind: AttributeType::Int.into(),
    }
}

/// An attribute that is a list of numbers.
pub fn numbers(name: &str, values: &[usize]) -> Attribute {
    Attribute {
        name: name.to_owned(),
        i: None,
        ints: values.iter().map(|&value| value as i64).collect(),
        kind: AttributeType::Ints.into(),
    }
}

/// An input or an output of f32: any number of images, each of these sides.
pub fn batch(name: &str, sides: &[usize]) -> ValueInfo {
    let any = Dimension { dim_value: None, dim_param: Some(BATCH.to_owned()) };
    let fixed = |&side: &usize| Dimension { dim_value: Some(side as i64), dim_param: None };
    let shape = TensorShape { dim: std::iter::once(any).chain(sides.iter().map(fixed)).collect() };
    let tensor = TensorType { elem_type: DataType::Float.into(), shape: Some(shape) };
    ValueInfo { name: name.to_owned(), kind: Some(Type { tensor_type: Some(tensor) }) }
}
