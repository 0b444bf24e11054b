//! The columns of `ticket_events` that a delivery fills, and the text of the statements that insert them.
//!
//! A new column is one line in the table below and a migration (nullable, or with a default). A new field of `Booking` also
//! needs a serde default, a value in every provider's `normalize`, `redact_booking` if it is free text, `memory_bytes` if it
//! is a list, and `Session::try_insert` if its column is not null. A column that `record.sql` reads needs a grant in docs/database.md.
//!
//! Invariants:
//!
//! - `id` stays first: `record.sql` reads the ids from the parameter behind its own.
//! - Columns are bound in the order of the table, behind the statement's own parameters.
//! - The text of a statement is the same for every batch: prepared statements are cached by their text.

use sqlx::{Postgres, postgres::PgArguments, query::Query};

use super::equal_deliveries::EqualDeliveries;

/// A list, sent as lines: Postgres has no arrays of lists that differ in length.
const LINES: &str = r"string_to_array({}, e'\n')";

/// Sent as text: Postgres opens arrays of `jsonb` more slowly.
const JSONB: &str = "{}::jsonb";

const JSON: &str = "{}::json";

struct Column {
    name: &'static str,
    /// The type of its parameter.
    parameter_type: &'static str,
    /// What is inserted; `{}` is the parameter.
    inserted: &'static str,
}

macro_rules! event_columns {
    ($group:ident { $($name:ident: $parameter_type:literal $(inserted as $inserted:expr)? => $value:expr;)+ }) => {
        const COLUMNS: &[Column] = &[$(Column {
            name: stringify!($name),
            parameter_type: $parameter_type,
            inserted: event_columns!(@inserted $($inserted)?),
        }),+];

        /// Binds a value to each column.
        pub(super) fn bind_one<'q>(
            query: Query<'q, Postgres, PgArguments>,
            $group: &EqualDeliveries<'_>,
        ) -> Query<'q, Postgres, PgArguments> {
            query$(.bind($value))+
        }

        /// Binds an array to each column.
        pub(super) fn bind_many<'q>(
            query: Query<'q, Postgres, PgArguments>,
            groups: &[&EqualDeliveries<'_>],
        ) -> Query<'q, Postgres, PgArguments> {
            query$(.bind(groups.iter().map(|$group| $value).collect::<Vec<_>>()))+
        }
    };
    (@inserted) => { "{}" };
    (@inserted $inserted:expr) => { $inserted };
}

event_columns!(group {
    id: "uuid" => group.event.id;
    provider: "text" => group.event.provider;
    account: "text" => group.event.account.as_str();
    environment: "text" => group.event.environment.as_str();
    booking_ref: "text" => group.event.booking.booking_ref.as_str();
    status: "text" => group.event.booking.status.as_str();
    pnr: "text" => group.event.booking.pnr.as_deref();
    gds_pnr: "text" => group.event.booking.gds_pnr.as_deref();
    // neither record locators nor ticket numbers nor warnings can hold a line feed
    airline_pnrs: "text" inserted as LINES => group.event.booking.airline_pnrs.join("\n");
    booking_number: "text" => group.event.booking.booking_number.as_deref();
    trace_id: "text" => group.event.booking.trace_id.as_deref();
    provider_status: "text" => group.event.booking.provider_status.as_deref();
    remark: "text" => group.event.booking.remark.as_deref();
    passengers: "text" inserted as JSONB => group.passengers();
    ticket_numbers: "text" inserted as LINES => group.event.booking.ticket_numbers().join("\n");
    warnings: "text" inserted as LINES => group.event.booking.warnings.join("\n");
    payload: "text" inserted as JSON => group.event.payload.as_str();
    content_hash: "bytea" => group.event.content_hash.as_slice();
    received_at: "timestamptz" => group.event.received_at;
    last_received_at: "timestamptz" => group.last_received_at;
    delivery_count: "integer" => group.delivery_count();
});

/// What the parameters of the columns hold.
#[derive(Clone, Copy)]
pub(super) enum Parameters {
    /// Values of one event.
    Values,
    /// Arrays of one length.
    Arrays,
}

/// The text of a statement whose own parameters are `$1` to `own`. Its placeholder `{columns}` stands for the names of the
/// columns, and `{values}` for what is inserted into them: of single values, made of the parameters; of arrays, made of the
/// columns of `delivery`, a row source whose columns are the placeholder `{delivery}`.
pub(super) fn statement(template: &str, own: usize, parameters: Parameters) -> String {
    let parameter =
        |index: usize, array: &str| format!("${}::{}{array}", own + index + 1, COLUMNS[index].parameter_type);
    // side by side arrays are opened row by row; in `from`, Postgres would first write out each of them
    let source = |(index, column): (usize, &Column)| format!("unnest({}) as {}", parameter(index, "[]"), column.name);
    let value = |(index, column): (usize, &Column)| {
        let value = match parameters {
            Parameters::Values => parameter(index, ""),
            Parameters::Arrays => format!("delivery.{}", column.name),
        };
        column.inserted.replace("{}", &value)
    };
    let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(",\n        ");
    template
        .replace("{delivery}", &list(&mut COLUMNS.iter().enumerate().map(source)))
        .replace("{columns}", &list(&mut COLUMNS.iter().map(|column| column.name.to_owned())))
        .replace("{values}", &list(&mut COLUMNS.iter().enumerate().map(value)))
}
