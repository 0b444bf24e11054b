//! What must hold for any input. The fuzz targets check it on what libFuzzer generates, and `tests/it/inputs/corpora.rs`, on a stable
//! toolchain, on every file in `corpus/`.
//!
//! A check returns, or panics with what does not hold.

mod configuration;
mod delivery;
mod secrets;
mod spool_record;

pub use self::{configuration::configuration, delivery::delivery, spool_record::spool_record};
