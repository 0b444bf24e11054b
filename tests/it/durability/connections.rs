//! The connections over which deliveries are written.

use std::{sync::Arc, time::Duration};

use sqlx::{PgPool, postgres::PgPoolOptions};
use ticket_webhooks::{
    clock,
    delivery::{Delivery, Reason, UnprocessedDelivery},
    store::Writer,
    ticket_event::Environment,
};

use crate::support::Database;

const NAME: &str = "writer";

fn delivery() -> Delivery {
    Delivery::Unprocessed(UnprocessedDelivery {
        id: clock::new_id(),
        provider: "order_ticketed".to_owned(),
        account: "main".into(),
        environment: Environment::Live,
        reason: Reason::Invalid,
        detail: String::new(),
        booking_ref: None,
        body: Vec::new(),
        received_at: clock::now(),
    })
}

/// The process at the other end of the connection that was opened last.
async fn backend(pool: &PgPool) -> i32 {
    let newest = "select pid from pg_stat_activity where datname = current_database() and application_name = $1 \
                  order by backend_start desc limit 1";
    sqlx::query_scalar(newest).bind(NAME).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn one_that_was_idle_for_long_is_opened_anew() {
    let database = Database::new().await;
    let options = database.pool.connect_options().as_ref().clone().application_name(NAME);
    for (idle_timeout, is_opened_anew) in [(Duration::ZERO, true), (Duration::from_secs(3600), false)] {
        let pool = PgPoolOptions::new().idle_timeout(idle_timeout).connect_lazy_with(options.clone());
        let mut writer = Writer::new(pool, false, Arc::default());
        writer.write(&[delivery()], false).await.unwrap();
        let first = backend(&database.pool).await;
        writer.write(&[delivery()], false).await.unwrap();
        assert_eq!(backend(&database.pool).await != first, is_opened_anew, "{idle_timeout:?}");
    }
}
