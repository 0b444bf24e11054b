//! A record of the spool: any bytes are a delivery, and what was written is read as the same.

use ticket_webhooks::{
    delivery::Delivery,
    spool::record::{decode, encode},
};

/// Takes any bytes as a record.
pub fn spool_record(data: &[u8]) {
    reads_as_the_same(&decode(data));
}

/// What is written of a delivery is read as the same delivery.
pub fn reads_as_the_same(delivery: &Delivery) {
    let record = encode(delivery);
    let again = decode(&record);
    assert_eq!(format!("{again:?}"), format!("{delivery:?}"));
    assert_eq!(encode(&again), record);
}
