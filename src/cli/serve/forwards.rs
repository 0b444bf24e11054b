//! The forwards of the configuration.

use std::sync::Arc;

use anyhow::Context;

use super::reload::ForwardKeys;
use crate::{
    config::{ForwardFrom, ForwardSettings, Settings},
    feed::Feed,
    forward::{Forward, Sender, SigningKeys, consumer_name, log_attempt},
    metrics::Metrics,
    store::Pool,
};

/// Each of them, and the keys with which each signs.
pub(super) fn forwards(
    settings: &Settings,
    feed: &Feed,
    pool: &Pool,
    metrics: &Metrics,
) -> anyhow::Result<(Vec<Forward>, ForwardKeys)> {
    let (mut forwards, mut all_keys) = (Vec::new(), ForwardKeys::new());
    // the rest is for what is received
    let stop_timeout = settings.server.shutdown_timeout * 2 / 3;
    for ForwardSettings { name, url, keys, wanted, include_payload, from, max_in_flight, .. } in &settings.forward {
        let keys = Arc::new(SigningKeys::from_pointee(keys.clone()));
        let sender = Sender::new(url.uri().clone(), Arc::clone(&keys)).with_context(|| format!("forward.{name}"))?;
        all_keys.insert(name.clone(), keys);
        let (name, metrics) = (name.clone(), metrics.forwards.of(name));
        forwards.push(Forward {
            consumer: consumer_name(&name),
            wanted: wanted.clone(),
            include_payload: *include_payload,
            from_start: *from == ForwardFrom::Start,
            max_in_flight: *max_in_flight,
            stop_timeout,
            sender: Arc::new(sender),
            feed: feed.clone(),
            pool: pool.clone(),
            observe: Box::new(move |attempted| {
                log_attempt(&name, attempted);
                metrics.count(attempted);
            }),
        });
    }
    Ok((forwards, all_keys))
}
