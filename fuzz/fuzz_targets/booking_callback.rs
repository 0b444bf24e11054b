//! The deliveries of `booking_callback`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ticket_webhooks_fuzz::delivery("booking_callback", data));
