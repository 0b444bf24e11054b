//! Reads rows of the feed.

use serde_json::value::RawValue;
use sqlx::{Row, postgres::PgRow};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Cursor, Position,
    item::{Content, Erased, Item, Order, Overdue, Revision},
};

impl Position {
    /// Of a row with `recorded_xid` as a number.
    pub(in crate::store) fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            generation: row.try_get("generation")?,
            transaction: row.try_get("recorded_xid")?,
            sequence: row.try_get("sequence")?,
        })
    }
}

impl Item {
    pub(in crate::store) fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let position = Position::from_row(row)?;
        let Position { generation, transaction, sequence } = position;
        let (id, recorded_at): (Uuid, OffsetDateTime) = (row.try_get("id")?, row.try_get("recorded_at")?);
        let [.., a, b, c, d] = *id.as_bytes();
        let cursor = Cursor {
            position,
            id_end: u32::from_be_bytes([a, b, c, d]),
            recorded_at: i64::try_from(recorded_at.unix_timestamp_nanos() / 1000).unwrap_or_default(),
        };
        let order = Order { generation, recorded_xid: transaction.to_string(), sequence: sequence.to_string() };
        let (provider, environment) = (row.try_get("provider")?, row.try_get("environment")?);
        let (booking_ref, status) = (row.try_get("booking_ref")?, row.try_get("status")?);
        let content = match row.try_get("type")? {
            "erased" => {
                let event_id = row.try_get("event_id")?;
                Content::Erased(Erased { id, event_id, provider, environment, booking_ref, recorded_at, order })
            }
            "overdue" => {
                let expected_by = row.try_get("expected_by")?;
                Content::Overdue(Overdue {
                    id,
                    provider,
                    environment,
                    booking_ref,
                    expected_by,
                    status,
                    recorded_at,
                    order,
                })
            }
            _ => Content::Revision(Box::new(Revision {
                id,
                provider,
                account: row.try_get("account")?,
                environment,
                booking_ref,
                revision: row.try_get("revision")?,
                late: row.try_get("late")?,
                status: status.unwrap_or_default(),
                previous_status: row.try_get("previous_status")?,
                pnr: row.try_get("pnr")?,
                gds_pnr: row.try_get("gds_pnr")?,
                airline_pnrs: row.try_get("airline_pnrs")?,
                booking_number: row.try_get("booking_number")?,
                trace_id: row.try_get("trace_id")?,
                provider_status: row.try_get("provider_status")?,
                remark: row.try_get("remark")?,
                passengers: raw_json(row.try_get("passengers")?)?,
                ticket_numbers: row.try_get("ticket_numbers")?,
                warnings: row.try_get("warnings")?,
                payload: row.try_get::<Option<String>, _>("payload")?.map(raw_json).transpose()?,
                content_hash: row
                    .try_get::<&[u8], _>("content_hash")?
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
                received_at: row.try_get("received_at")?,
                recorded_at,
                last_received_at: row.try_get("last_received_at")?,
                delivery_count: row.try_get("delivery_count")?,
                order,
            })),
        };
        Ok(Self { cursor, content })
    }
}

/// A column of JSON that was read as text.
pub(in crate::store) fn raw_json(text: String) -> sqlx::Result<Box<RawValue>> {
    RawValue::from_string(text).map_err(|error| sqlx::Error::Decode(error.into()))
}
