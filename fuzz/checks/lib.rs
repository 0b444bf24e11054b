//! What holds whatever arrives. The fuzz targets ask it of what libFuzzer makes up, and `tests/it/inputs/corpora.rs`, on a
//! stable toolchain, of every file in `corpus/`.
//!
//! A check returns, or panics and says what did not hold.

mod configuration;
mod delivery;
mod secrets;
mod spool_record;

pub use self::{configuration::configuration, delivery::delivery, spool_record::spool_record};
