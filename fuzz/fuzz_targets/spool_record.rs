//! Records of the spool.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ticket_webhooks_fuzz::spool_record(data));
