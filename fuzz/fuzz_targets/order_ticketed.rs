//! The deliveries of `order_ticketed`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ticket_webhooks_fuzz::delivery("order_ticketed", data));
