//! Any bytes as a spool record: they decode to a delivery, and an encoded delivery decodes to the same one.

use ticket_webhooks::{
    delivery::Delivery,
    payload::RedactedPayload,
    providers,
    spool::record::{decode, encode},
};

pub fn spool_record(data: &[u8]) {
    let delivery = decode(data);
    assert_round_trip(&delivery);
    if let Delivery::Event(event) = &delivery {
        // white space around a document changes nothing
        let provider = providers::by_name(event.provider).expect("an event is of a known provider");
        let payload =
            RedactedPayload::restore(&format!(" {}\n", event.payload)).expect("the payload of an event is JSON");
        assert_eq!(payload.content_hash(provider.volatile_members()), event.content_hash);
        if event.is_restorable {
            let booking = provider.normalize(payload.payload(), event.received_at.date());
            assert_eq!(booking.as_ref(), Ok(&event.booking));
        }
    }
}

pub fn assert_round_trip(delivery: &Delivery) {
    let record = encode(delivery);
    let again = decode(&record);
    assert_eq!(format!("{again:?}"), format!("{delivery:?}"));
    assert_eq!(encode(&again), record);
}
