//! The metrics of the feed and its consumers, read from the database when a page is made.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::{family::Family, gauge::Gauge};

use super::registry::Registry;
use crate::store::{Consumer, HeldBack};

/// What a page says of the feed.
pub(super) struct FeedValues {
    pub(super) held_back: HeldBack,
    pub(super) consumers: Vec<Consumer>,
}

pub(super) fn add(registry: &mut Registry, FeedValues { held_back, consumers }: &FeedValues) {
    registry.gauge(
        "ticket_webhooks_feed_held_back_seconds",
        "Time since the oldest item was recorded that an older open transaction holds back from the feed, in seconds; 0 when there is none.",
        held_back.seconds,
    );
    registry.gauge(
        "ticket_webhooks_feed_held_back_by_pid",
        "The process id of the backend with that transaction; 0 when there is none, or it is a prepared transaction.",
        i64::from(held_back.pid),
    );
    let by_name = |value: fn(&Consumer) -> f64| {
        let gauges = Family::<[(&'static str, String); 1], Gauge<f64, AtomicU64>>::default();
        for consumer in consumers {
            gauges.get_or_create(&[("consumer", consumer.name.clone())]).set(value(consumer));
        }
        gauges
    };
    registry.add(
        "ticket_webhooks_consumer_lag_seconds",
        "Time since the first item behind the named position was recorded, in seconds; 0 when there is none.",
        by_name(|consumer| consumer.lag_seconds),
    );
    registry.add(
        "ticket_webhooks_consumer_lag_events",
        "Items behind the named position, counted up to 10,000.",
        by_name(|consumer| consumer.lag_events as f64),
    );
}
