//! Keeping deliveries that could not become a TicketEvent.

use super::{StoreError, session::Session};
use crate::delivery::UnprocessedDelivery;

/// Keeps a batch; a delivery that is kept already stays as it is.
pub(super) async fn keep(session: &mut Session, deliveries: &[&UnprocessedDelivery]) -> Result<(), StoreError> {
    macro_rules! column {
        ($delivery:ident => $value:expr) => {
            deliveries.iter().map(|$delivery| $value).collect::<Vec<_>>()
        };
    }
    let query = sqlx::query(
        "insert into unprocessed_deliveries (id, provider, account, environment, reason, detail, body, received_at) \
         select * from unnest($1, $2, $3, $4, $5, $6, $7, $8) on conflict (id) do nothing",
    )
    .bind(column!(delivery => delivery.id))
    .bind(column!(delivery => delivery.provider.as_str()))
    .bind(column!(delivery => delivery.account.as_str()))
    .bind(column!(delivery => delivery.environment.as_str()))
    .bind(column!(delivery => delivery.reason.as_str()))
    .bind(column!(delivery => delivery.detail.as_str()))
    .bind(column!(delivery => delivery.body.as_slice()))
    .bind(column!(delivery => delivery.received_at));
    session.fetch_all(query).await?;
    Ok(())
}
