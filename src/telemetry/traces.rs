//! Traces over OTLP (HTTP, protobuf), when the standard `OTEL_*` variables ask for them.
//!
//! A delivery is one span with a child for each phase, made once the delivery has its outcome and put into a bounded
//! queue, which a thread of the SDK exports.
//!
//! Invariant: no delivery waits for the collector. Spans that do not fit into the queue, or that the collector does not
//! accept, are dropped with a warning.

use std::{
    env,
    future::{Future, ready},
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, TraceState, Tracer, TracerProvider,
    },
};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};

use super::{Trace, TraceContext};
use crate::{clock, delivery::Outcome};

/// The only outcome that is this service's fault.
const NOT_DURABLE: &str = Outcome::NotDurable.as_str();

/// The most that the last export may delay the end of the process.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// `None`: nothing is exported.
pub struct Traces(Option<(SdkTracerProvider, SdkTracer)>);

impl Traces {
    /// A wrong variable is logged, and nothing is exported.
    pub fn start() -> Self {
        if !is_wanted() {
            return Self(None);
        }
        let exporter = match exporter() {
            Ok(exporter) => exporter,
            Err(error) => {
                tracing::warn!(%error, "no traces are exported");
                return Self(None);
            }
        };
        let mut resource = Resource::builder();
        if env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("ticket-webhooks");
        }
        let resource = resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build();
        let provider = SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build();
        let tracer = provider.tracer("ticket-webhooks");
        tracing::info!("traces are exported");
        Self(Some((provider, tracer)))
    }

    /// Returns the id of the delivery's trace; `None` when nothing is exported.
    pub fn export(&self, trace: &Trace<'_>) -> Option<u128> {
        let (_, tracer) = self.0.as_ref()?;
        let (now, instant) = (clock::system_time(), Instant::now());
        let wall = |moment: Instant| now - instant.saturating_duration_since(moment);
        let parent = trace.parent.map(remote).unwrap_or_default();
        let span = tracer
            .span_builder(format!("POST {}", trace.provider))
            .with_kind(SpanKind::Server)
            .with_start_time(wall(trace.start))
            .start_with_context(tracer, &parent);
        let id = u128::from_be_bytes(span.span_context().trace_id().to_bytes());
        if !span.is_recording() {
            return Some(id);
        }
        let context = parent.with_span(span);
        let mut from = trace.start;
        for (name, until) in trace.phases {
            let phase = tracer.span_builder(*name).with_start_time(wall(from)).start_with_context(tracer, &context);
            { phase }.end_with_timestamp(wall(*until));
            from = *until;
        }
        let span = context.span();
        span.set_attributes(attributes(trace));
        if trace.outcome == NOT_DURABLE {
            span.set_status(Status::error(trace.outcome));
        }
        span.end_with_timestamp(wall(trace.end));
        Some(id)
    }

    /// Exports what is still queued. Blocks for up to `SHUTDOWN_TIMEOUT`.
    pub fn stop(&self) {
        if let Some((provider, _)) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT)
        {
            tracing::warn!(%error, "the last traces were not exported");
        }
    }
}

/// Those of the log line. Of the payload only the booking's reference is shown.
fn attributes(trace: &Trace<'_>) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("http.request.method", "POST"),
        KeyValue::new("client.address", trace.client.to_string()),
        KeyValue::new("request.id", trace.request_id.to_owned()),
        KeyValue::new("provider", trace.provider),
        KeyValue::new("outcome", trace.outcome),
    ];
    if let Some((account, environment)) = trace.account {
        attributes.push(KeyValue::new("account", account.to_owned()));
        attributes.push(KeyValue::new("environment", environment.as_str()));
    }
    attributes.extend(trace.booking_ref.map(|reference| KeyValue::new("booking.reference", reference.to_owned())));
    if let Some((id, revision)) = trace.event {
        attributes.push(KeyValue::new("event.id", id.to_string()));
        attributes.push(KeyValue::new("event.revision", i64::from(revision)));
    }
    attributes
}

fn remote(parent: TraceContext) -> Context {
    let flags = if parent.is_sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let (trace_id, span_id) = (parent.trace_id.to_be_bytes(), parent.span_id.to_be_bytes());
    let context = SpanContext::new(
        opentelemetry::TraceId::from_bytes(trace_id),
        opentelemetry::SpanId::from_bytes(span_id),
        flags,
        true,
        TraceState::default(),
    );
    Context::new().with_remote_span_context(context)
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The variable for traces, else the one for all signals.
fn otlp_variable(name: &str) -> Option<String> {
    let of_traces = variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
    of_traces.or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
}

fn is_wanted() -> bool {
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return false;
    }
    let is_otlp = match variable("OTEL_TRACES_EXPORTER").as_deref() {
        None => otlp_variable("ENDPOINT").is_some(),
        Some("otlp") => true,
        Some("none") => false,
        Some(_) => {
            tracing::warn!("no traces are exported: of OTEL_TRACES_EXPORTER only otlp and none are known");
            false
        }
    };
    let is_known = otlp_variable("PROTOCOL").is_none_or(|protocol| protocol == "http/protobuf");
    if is_otlp && !is_known {
        tracing::warn!("no traces are exported: of OTEL_EXPORTER_OTLP_PROTOCOL only http/protobuf is known");
    }
    is_otlp && is_known
}

fn exporter() -> Result<SpanExporter, ExporterBuildError> {
    let timeout = otlp_variable("TIMEOUT").and_then(|value| value.parse().ok()).map(Duration::from_millis);
    let timeout = timeout.unwrap_or(opentelemetry_otlp::OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT);
    let config = ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false);
    SpanExporter::builder().with_http().with_http_client(Client(config.build().new_agent())).build()
}

/// Blocks, which is fine on the exporter's own thread. Brings no second HTTP client into the binary: `send-sample` uses
/// `ureq` too.
#[derive(Debug)]
struct Client(ureq::Agent);

impl HttpClient for Client {
    fn send_bytes<'client, 'sent>(
        &'client self,
        request: http::Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<http::Response<Bytes>, HttpError>> + Send + 'sent>>
    where
        'client: 'sent,
        Self: 'sent,
    {
        let send = || -> Result<http::Response<Bytes>, HttpError> {
            let (head, body) = self.0.run(request.map(Vec::from))?.into_parts();
            Ok(http::Response::from_parts(head, { body }.read_to_vec()?.into()))
        };
        Box::pin(ready(send()))
    }
}
