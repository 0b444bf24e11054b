//! How it stands: each provider at one glance, what waits for somebody, and the parts of the service.

use std::sync::Arc;

use askama::Template;
use axum::{Extension, extract::State};
use time::{Duration, OffsetDateTime};

use super::{
    Console,
    chart::{Chart, duration},
    html::Time,
    page::{Frame, Page, Place},
    session::Session,
};
use crate::{
    api::ApiError,
    clock,
    forward::{CONSUMER_PREFIX, consumer_name, forward_name},
    metrics::DURATIONS,
    store::{BookingCount, BookingKind, Consumer, DeliveryCounts, ForwardStatus, PauseReason},
};

/// The periods of `delivery_counts`.
const PERIOD: Duration = Duration::minutes(10);
const PERIODS_OF_A_DAY: usize = 144;

/// As the alert TicketWebhooksProviderSilent has it.
const SILENT_AFTER: Duration = Duration::hours(6);

/// Periods that say how it is now: half an hour.
const RECENT_PERIODS: usize = 3;

/// As long as there are counts.
const KEPT: Duration = Duration::days(8);

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    now: Time,
    /// Deliveries of this replica that are not in Postgres yet; `None` without a spool.
    spooled: Option<u64>,
    /// `Err`: why the database does not say it.
    database: Result<Overview, String>,
}

struct Overview {
    providers: Vec<ProviderCard>,
    overdue: i64,
    stuck: i64,
    unprocessed: u64,
    forwards: Vec<ForwardStatus>,
    /// The forwards of the configuration that have not begun.
    not_begun: Vec<String>,
    consumers: Vec<Consumer>,
}

struct ProviderCard {
    name: &'static str,
    health: Health,
    last_received_at: Option<Time>,
    charts: Vec<(&'static str, i64, Chart)>,
    latency: Chart,
    /// The 95th percentile of the last half hour with deliveries.
    latency_now: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    NotConfigured,
    /// Nothing for hours.
    Silent,
    /// In the last half hour more went wrong than right, or something was kept nowhere.
    Failing,
    Healthy,
}

/// `GET /`
pub(super) async fn show(
    State(console): State<Arc<Console>>,
    Extension(session): Extension<Session>,
) -> Page<impl Template> {
    let database = console.overview().await.map_err(|error| error.message().to_owned());
    let (frame, now, spooled) = (Frame::new(Place::Overview, &session), Time(clock::now()), (console.spooled)());
    Page(OverviewPage { frame, now, spooled, database })
}

impl Console {
    async fn overview(&self) -> Result<Overview, ApiError> {
        let (api, pool, now) = (&self.api, &self.api.pool, clock::now());
        let counts = pool.delivery_counts(now - KEPT).await?;
        let routed = self.secrets.load().routed();
        let card = |name: &'static str| ProviderCard::of(name, routed.contains(&name), &counts, now);
        let bookings = api.bookings.counts().await?;
        let names: Vec<_> = api.forwards.iter().map(|forward| consumer_name(&forward.name)).collect();
        let forwards = if names.is_empty() { Vec::new() } else { pool.forwards(&names).await? };
        let has_begun = |name: &String| forwards.iter().any(|forward| forward.name == consumer_name(name));
        let configured = api.forwards.iter().map(|forward| forward.name.clone());
        Ok(Overview {
            providers: api.provider_paths.iter().map(|(_, provider)| card(provider.name())).collect(),
            overdue: count(&bookings, BookingKind::Overdue),
            stuck: count(&bookings, BookingKind::Stuck),
            unprocessed: pool.count_waiting().await?.iter().sum(),
            not_begun: configured.filter(|name| !has_begun(name)).collect(),
            forwards,
            consumers: pool.consumers(None).await?,
        })
    }
}

/// As they are counted: up to 10,000.
fn events(count: i64) -> String {
    match count {
        1 => "1 event".to_owned(),
        10_000.. => "10,000 events or more".to_owned(),
        count => format!("{count} events"),
    }
}

fn count(bookings: &[BookingCount], kind: BookingKind) -> i64 {
    bookings.iter().filter(|count| count.kind == kind).map(|count| count.count).sum()
}

impl ProviderCard {
    fn of(name: &'static str, is_configured: bool, counts: &[DeliveryCounts], now: OffsetDateTime) -> Self {
        let counts: Vec<_> = counts.iter().filter(|counts| counts.provider == name).collect();
        // unauthenticated ones come from anybody
        let of_provider = counts.iter().filter(|counts| counts.environment != "none");
        let last_received_at = of_provider.filter_map(|counts| counts.last_received_at).max();
        let series = |value: fn(&DeliveryCounts) -> i64| {
            let mut values = vec![0; PERIODS_OF_A_DAY];
            for counts in &counts {
                if let Some(index) = index_of(counts.since, now) {
                    values[index] += value(counts);
                }
            }
            values
        };
        let [recorded, duplicates, unprocessed, unauthenticated, unavailable] = [
            series(|counts| counts.recorded),
            series(|counts| counts.duplicates),
            series(|counts| counts.unprocessed),
            series(|counts| counts.unauthenticated),
            series(|counts| counts.unavailable),
        ];
        let recent = |values: &[i64]| values[PERIODS_OF_A_DAY - RECENT_PERIODS..].iter().sum::<i64>();
        let wrong = recent(&unprocessed) + recent(&unauthenticated);
        let health = if !is_configured {
            Health::NotConfigured
        } else if recent(&unavailable) > 0 || wrong > recent(&recorded) + recent(&duplicates) {
            Health::Failing
        } else if last_received_at.is_none_or(|last| now - last > SILENT_AFTER) {
            Health::Silent
        } else {
            Health::Healthy
        };
        let latencies = latencies(&counts, now);
        let chart =
            |name, values: Vec<i64>, is_alarm| (name, values.iter().sum(), Chart::of_counts(name, &values, is_alarm));
        Self {
            name,
            health,
            last_received_at: last_received_at.map(Time),
            latency_now: latencies.iter().rev().flatten().next().copied().map(duration),
            latency: Chart::of_seconds("answered within, for 95 of 100", &latencies),
            charts: vec![
                chart("recorded", recorded, false),
                chart("duplicates", duplicates, false),
                chart("unprocessed", unprocessed, true),
                chart("not authenticated", unauthenticated, true),
            ],
        }
    }
}

impl Health {
    fn words(self) -> &'static str {
        match self {
            Self::NotConfigured => "not configured",
            Self::Silent => "silent",
            Self::Failing => "failing",
            Self::Healthy => "healthy",
        }
    }

    fn tone(self) -> &'static str {
        match self {
            Self::NotConfigured => "over",
            Self::Silent => "open",
            Self::Failing => "bad",
            Self::Healthy => "good",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::NotConfigured => "It has no account in the configuration: its deliveries are answered with 404.",
            Self::Silent => "Nothing authenticated has come for six hours.",
            Self::Failing => "In the last half hour more went wrong than right, or something could be kept nowhere.",
            Self::Healthy => "In the last half hour at least as much was recorded as went wrong.",
        }
    }
}

/// The place of a period in a chart of the last day.
fn index_of(since: OffsetDateTime, now: OffsetDateTime) -> Option<usize> {
    let periods_ago = (now - since).whole_seconds().max(0) / PERIOD.whole_seconds();
    PERIODS_OF_A_DAY.checked_sub(1 + usize::try_from(periods_ago).ok()?)
}

/// The 95th percentile of each period, in seconds: the bound of its bucket.
fn latencies(counts: &[&DeliveryCounts], now: OffsetDateTime) -> Vec<Option<f64>> {
    let mut buckets = vec![vec![0; DURATIONS.len() + 1]; PERIODS_OF_A_DAY];
    for counts in counts {
        let Some(index) = index_of(counts.since, now) else { continue };
        for (sum, value) in buckets[index].iter_mut().zip(&counts.durations) {
            *sum += value;
        }
    }
    buckets.iter().map(|buckets| percentile_95(buckets)).collect()
}

fn percentile_95(buckets: &[i64]) -> Option<f64> {
    let total: i64 = buckets.iter().sum();
    let mut seen = 0;
    for (index, count) in buckets.iter().enumerate() {
        seen += count;
        if total > 0 && seen * 100 >= total * 95 {
            return Some(DURATIONS.get(index).copied().unwrap_or(DURATIONS[DURATIONS.len() - 1] * 2.0));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn counts(minutes_ago: i64, change: impl FnOnce(&mut DeliveryCounts)) -> DeliveryCounts {
        let since = NOW - Duration::minutes(minutes_ago);
        let mut counts = DeliveryCounts {
            since,
            provider: "order_ticketed".to_owned(),
            environment: "live".to_owned(),
            recorded: 0,
            duplicates: 0,
            unprocessed: 0,
            unauthenticated: 0,
            unreadable: 0,
            unavailable: 0,
            last_received_at: Some(since),
            durations: vec![0; DURATIONS.len() + 1],
        };
        change(&mut counts);
        counts
    }

    const NOW: OffsetDateTime = datetime!(2026-11-26 12:00 UTC);

    #[test]
    fn a_provider_is_healthy_silent_or_failing() {
        let health = |counts: &[DeliveryCounts]| ProviderCard::of("order_ticketed", true, counts, NOW).health;
        assert_eq!(health(&[]), Health::Silent);
        assert_eq!(health(&[counts(5, |counts| counts.recorded = 1)]), Health::Healthy);
        assert_eq!(health(&[counts(361, |counts| counts.recorded = 1)]), Health::Silent);
        assert_eq!(health(&[counts(5, |counts| (counts.recorded, counts.unprocessed) = (1, 2))]), Health::Failing);
        assert_eq!(health(&[counts(5, |counts| (counts.recorded, counts.unavailable) = (100, 1))]), Health::Failing);
        assert_eq!(health(&[counts(45, |counts| counts.unavailable = 1)]), Health::Healthy, "that is over");
        // strangers are no sign of life
        let strangers = counts(5, |counts| (counts.environment, counts.unauthenticated) = ("none".to_owned(), 3));
        assert_eq!(health(&[strangers]), Health::Failing);
        assert_eq!(ProviderCard::of("order_ticketed", false, &[], NOW).health, Health::NotConfigured);
    }

    #[test]
    fn the_95th_percentile_is_the_bound_of_its_bucket() {
        let mut buckets = vec![0; DURATIONS.len() + 1];
        assert_eq!(percentile_95(&buckets), None);
        (buckets[3], buckets[10]) = (95, 5);
        assert_eq!(percentile_95(&buckets), Some(DURATIONS[3]));
        buckets[10] = 6;
        assert_eq!(percentile_95(&buckets), Some(DURATIONS[10]));
    }
}
