//! Reading a JSON document leniently and without loss.
//!
//! `serde_json` validates a document once; an `Index` then holds the spans of its values, and a `Value` is a view of
//! one of them, decoded only on demand.
//!
//! Invariants:
//! - a number keeps its digits: none goes through a float;
//! - a lone surrogate and a repeated key are no errors;
//! - a value that nobody reads is never decoded.
//!
//! What a field means is decided in `crate::payload`, not here.

mod broken;
mod canonical;
mod cut;
mod document;
mod index;
mod layers;
mod path;
mod storable;
mod text;
mod unpack;
mod value;

pub(crate) use self::{
    broken::broken_members,
    layers::{Layer, layer_texts, layers},
};
pub use self::{
    document::{Document, MAX_DEPTH, Malformed, Unreadable},
    index::Index,
    text::Text,
    value::{Kind, Member, Value},
};
