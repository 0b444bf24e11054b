//! Stores deliveries that could not become a TicketEvent.

mod rows;

use std::collections::BTreeMap;

use time::OffsetDateTime;

pub use self::rows::{UnprocessedFilter, UnprocessedRow};
use super::{StoreError, session::Session};
use crate::delivery::UnprocessedDelivery;

/// Deliveries with the same body.
struct SameBody<'a> {
    first: &'a UnprocessedDelivery,
    count: i32,
    last_received_at: OffsetDateTime,
}

/// Stores a batch. A body that is stored and not reprocessed yet has its count raised instead; a delivery that is stored
/// already stays as it is.
pub(super) async fn store_unprocessed(
    session: &mut Session,
    deliveries: &[&UnprocessedDelivery],
) -> Result<(), StoreError> {
    // sorted: the same order in every replica, so that two of them cannot deadlock
    let mut rows: BTreeMap<_, SameBody<'_>> = BTreeMap::new();
    for delivery in deliveries {
        let UnprocessedDelivery { provider, environment, account, reason, received_at, .. } = delivery;
        let key = (provider, environment.as_str(), account, reason.as_str(), delivery.body_hash());
        let row = rows.entry(key).or_insert(SameBody { first: delivery, count: 0, last_received_at: *received_at });
        row.count += 1;
        row.last_received_at = row.last_received_at.max(*received_at);
    }
    macro_rules! column {
        ($row:ident => $value:expr) => {
            rows.values().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    let query = sqlx::query(include_str!("unprocessed.sql"))
        .bind(column!(row => row.first.id))
        .bind(column!(row => row.first.provider.as_str()))
        .bind(column!(row => row.first.account.as_str()))
        .bind(column!(row => row.first.environment.as_str()))
        .bind(column!(row => row.first.reason.as_str()))
        .bind(column!(row => row.first.detail.as_str()))
        .bind(column!(row => row.first.booking_ref.as_deref()))
        .bind(column!(row => row.first.body.as_slice()))
        .bind(rows.keys().map(|(.., hash)| hash.as_slice()).collect::<Vec<_>>())
        .bind(column!(row => row.first.received_at))
        .bind(column!(row => row.last_received_at))
        .bind(column!(row => row.count));
    let written = session.fetch_all(query).await?;
    // the rest was found stored
    if written.len() < rows.len() {
        session.confirm_what_it_sees().await?;
    }
    Ok(())
}
