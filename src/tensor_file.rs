//! Safetensors files of this program: tensors, and in the metadata what they are.
//!
//! The metadata holds one text: a JSON object that begins with the version of the format and a checksum of the whole
//! file (CRC-32C, taken with zeros in its own place), so that no bit of the file can change unnoticed.

use std::collections::HashMap;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What stands in the file before the digits of the checksum; quotes are escaped, as the JSON is a text in JSON.
const BEFORE_CHECKSUM: &str = r#"\"checksum\":\""#;
/// Digits of the checksum.
const DIGITS: usize = 8;

/// A kind of file.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// The key of the metadata.
    pub key: &'static str,
    /// The version that this program writes.
    pub version: u32,
    /// The oldest version that it reads.
    pub oldest: u32,
    /// What such a file is called: `a model file`.
    pub what: &'static str,
    /// What its metadata describes: `a model`.
    pub described: &'static str,
}

/// A tensor as it is stored.
#[derive(Clone, Debug)]
pub struct Tensor {
    name: String,
    kind: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    /// A tensor of little-endian numbers, row by row.
    pub fn new(name: impl Into<String>, kind: Dtype, shape: Vec<usize>, bytes: Vec<u8>) -> Self {
        Tensor { name: name.into(), kind, shape, bytes }
    }

    fn view(&self) -> Result<TensorView<'_>, SafeTensorError> {
        TensorView::new(self.kind, self.shape.clone(), &self.bytes)
    }
}

/// The metadata's text.
#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    checksum: String,
    #[serde(flatten)]
    description: serde_json::Value,
}

impl Format {
    /// The bytes of a file: the same for the same contents.
    ///
    /// # Errors
    /// Contents that no such file can hold.
    pub fn to_bytes(&self, description: &impl Serialize, tensors: &[Tensor]) -> Result<Vec<u8>, String> {
        let unwritable = |error: &dyn std::fmt::Display| format!("cannot be written: {error}");
        let description = serde_json::to_value(description).map_err(|error| unwritable(&error))?;
        let header = Header { version: self.version, checksum: "0".repeat(DIGITS), description };
        let header = serde_json::to_string(&header).map_err(|error| unwritable(&error))?;
        let mut bytes = serialize(tensors, self.key, header).map_err(|error| unwritable(&error))?;
        let place = checksum_place(&bytes).ok_or("cannot be written: it has no place for a checksum")?;
        let checksum = format!("{:08x}", crc32c::crc32c(&bytes));
        bytes[place..place + DIGITS].copy_from_slice(checksum.as_bytes());
        Ok(bytes)
    }

    /// The tensors and the description in the bytes of a file.
    ///
    /// # Errors
    /// Bytes that are no such file, are of another version, or have changed since they were written.
    pub fn read<'a, D: DeserializeOwned>(&self, bytes: &'a [u8]) -> Result<(SafeTensors<'a>, D), String> {
        let Format { key, version, oldest, what, described } = self;
        let unreadable = |error| match error {
            _ if bytes.is_empty() => format!("is not {what}: it is empty"),
            // Of the header or of the tensors.
            SafeTensorError::InvalidHeaderLength | SafeTensorError::MetadataIncompleteBuffer => {
                format!("is not {what}: it does not have the length that its beginning tells, as if cut off")
            }
            error => format!("is not {what}: {error}"),
        };
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let text = metadata.metadata().as_ref().and_then(|metadata| metadata.get(*key));
        let text =
            text.ok_or_else(|| format!("is not {what}: its metadata holds no description of {described}"))?;
        let malformed = |error| format!("the description of {described} in it is malformed: {error}");
        let header: Header = serde_json::from_str(text).map_err(malformed)?;
        if !(*oldest..=*version).contains(&header.version) {
            let reads =
                if oldest == version { version.to_string() } else { format!("{oldest} to {version}") };
            return Err(format!("has the format version {}; this program reads {reads}", header.version));
        }
        check_sum(bytes, &header.checksum)?;
        let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
        Ok((file, serde_json::from_value(header.description).map_err(malformed)?))
    }
}

/// The bytes of a safetensors file with one text in its metadata; of more the order would not be fixed.
pub fn serialize(tensors: &[Tensor], key: &str, text: String) -> Result<Vec<u8>, SafeTensorError> {
    let views: Result<Vec<_>, SafeTensorError> =
        tensors.iter().map(|tensor| Ok((&tensor.name, tensor.view()?))).collect();
    safetensors::serialize(views?, Some(HashMap::from([(key.to_owned(), text)])))
}

/// The f64 numbers of the bytes of a tensor.
pub fn doubles(bytes: &[u8]) -> Vec<f64> {
    let (values, _) = bytes.as_chunks::<8>();
    values.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()
}

/// The values of one tensor, which must be f32 and have this shape.
pub fn values(file: &SafeTensors, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
    let (values, _) = data(file, name, Dtype::F32, shape)?.as_chunks::<4>();
    Ok(values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}

/// The values of one tensor, which must be f64 and have this shape.
pub fn wide_values(file: &SafeTensors, name: &str, shape: &[usize]) -> Result<Vec<f64>, String> {
    data(file, name, Dtype::F64, shape).map(doubles)
}

/// The bytes of one tensor, which must be of this type and have this shape.
fn data<'a>(file: &SafeTensors<'a>, name: &str, kind: Dtype, shape: &[usize]) -> Result<&'a [u8], String> {
    let tensor = file.tensor(name).map_err(|_| format!("has no tensor {name}"))?;
    if tensor.shape() != shape || tensor.dtype() != kind {
        return Err(format!(
            "tensor {name} is {:?} of the shape {:?}; expected {kind:?} of {shape:?}",
            tensor.dtype(),
            tensor.shape()
        ));
    }
    Ok(tensor.data())
}

/// Where the digits of the checksum are.
fn checksum_place(bytes: &[u8]) -> Option<usize> {
    let before = BEFORE_CHECKSUM.as_bytes();
    let place = bytes.windows(before.len()).position(|window| window == before)? + before.len();
    (place + DIGITS <= bytes.len()).then_some(place)
}

/// Refuses a file whose bytes do not give the checksum.
fn check_sum(bytes: &[u8], stored: &str) -> Result<(), String> {
    let place = checksum_place(bytes).ok_or("has no checksum")?;
    let pieces = [&bytes[..place], &[b'0'; DIGITS], &bytes[place + DIGITS..]];
    let found = pieces.into_iter().fold(0, crc32c::crc32c_append);
    let found = format!("{found:08x}");
    if found == stored {
        return Ok(());
    }
    Err(format!("is damaged: its checksum is {found}, and {stored} was stored with it"))
}
