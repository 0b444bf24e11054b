//! The deliveries of `ticket_status_update`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ticket_webhooks_fuzz::delivery("ticket_status_update", data));
