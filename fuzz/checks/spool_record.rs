//! A record of the spool: any bytes are a delivery, and what was written is read as the same.

use ticket_webhooks::{
    delivery::Delivery,
    payload::KeptPayload,
    providers,
    spool::record::{decode, encode},
};

/// Takes any bytes as a record.
pub fn spool_record(data: &[u8]) {
    let delivery = decode(data);
    reads_as_the_same(&delivery);
    if let Delivery::Event(event) = &delivery {
        // what may stand around a document changes nothing of what it says
        let provider = providers::by_name(event.provider).expect("an event is of a known provider");
        let kept = KeptPayload::restore(&format!(" {}\n", event.payload)).expect("the payload of an event is JSON");
        assert_eq!(kept.content_hash(provider.volatile_members()), event.content_hash);
        if event.is_restorable {
            let booking = provider.normalize(kept.payload(), event.received_at.date());
            assert_eq!(booking.as_ref(), Ok(&event.booking));
        }
    }
}

/// What is written of a delivery is read as the same delivery.
pub fn reads_as_the_same(delivery: &Delivery) {
    let record = encode(delivery);
    let again = decode(&record);
    assert_eq!(format!("{again:?}"), format!("{delivery:?}"));
    assert_eq!(encode(&again), record);
}
