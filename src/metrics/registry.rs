//! Registers metrics under the names and with the help texts that `/metrics` shows and docs/metrics-and-logs.md lists.

use std::{fmt, sync::atomic::AtomicU64};

pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;
use prometheus_client::{
    encoding::{EncodeGaugeValue, prometheus_text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::{Metric, Registry as Inner},
};

pub(super) type Labels<const N: usize> = [(&'static str, &'static str); N];
pub(super) type Counters<const N: usize> = Family<Labels<N>, Counter>;
pub(super) type UnsignedGauge = Gauge<u64, AtomicU64>;
pub(super) type FloatGauges = Family<Labels<1>, Gauge<f64, AtomicU64>>;

#[derive(Default)]
pub(super) struct Registry(Inner);

impl Registry {
    /// Registers a metric; the clone that it returns is the same metric.
    pub(super) fn add<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.register(name, help, metric.clone());
        metric
    }

    pub(super) fn counter(&mut self, name: &str, help: &str) -> Counter {
        self.add(name, help, Counter::default())
    }

    pub(super) fn counters<const N: usize>(&mut self, name: &str, help: &str) -> Counters<N> {
        self.add(name, help, Counters::default())
    }

    pub(super) fn histograms(
        &mut self,
        name: &str,
        help: &str,
        new: fn() -> Histogram,
    ) -> Family<Labels<1>, Histogram, fn() -> Histogram> {
        self.add(name, help, Family::new_with_constructor(new))
    }

    /// Registers values that are set when they are known.
    pub(super) fn unsigned_gauges(&mut self, name: &str, help: &str) -> Family<Labels<1>, UnsignedGauge> {
        self.add(name, help, Family::default())
    }

    /// Registers a value that was just read.
    pub(super) fn gauge<T>(&mut self, name: &str, help: &str, value: T)
    where
        T: EncodeGaugeValue + fmt::Debug + Send + Sync + 'static,
    {
        self.register(name, help, ConstGauge::new(value));
    }

    /// Registers values that were just read.
    pub(super) fn gauges(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels<1>, u64)>) {
        let family = Family::<Labels<1>, UnsignedGauge>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        self.register(name, help, family);
    }

    /// Registers counts that were just read.
    pub(super) fn counts(&mut self, name: &str, help: &str, counts: impl IntoIterator<Item = (Labels<1>, u64)>) {
        let family = Counters::default();
        for (labels, count) in counts {
            family.get_or_create(&labels).inc_by(count);
        }
        self.register(name, help, family);
    }

    pub(super) fn register(&mut self, name: &str, help: &str, metric: impl Metric) {
        // the encoder appends both
        let name = name.strip_suffix("_total").unwrap_or(name);
        let help = help.strip_suffix('.').unwrap_or(help);
        self.0.register(name, help, metric);
    }

    /// Appends the metrics to a page in the text format of Prometheus.
    pub(super) fn encode(&self, page: &mut String) {
        prometheus_text::encode(page, &self.0).expect("writing to a string does not fail");
    }
}
