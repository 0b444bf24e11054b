//! `make bench-pure`: the CPU time of a delivery before it is stored, for each provider.
//!
//! The steps are those of `receive.rs`, each alone and all of them together with the content hash.

/// What is measured.
#[path = "support/subject.rs"]
mod subject;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use subject::Subject;
use ticket_webhooks::{
    credentials::Verified,
    json::Document,
    payload::{Payload, RedactedPayload},
    providers::PROVIDERS,
    ticket_event::Booking,
};
use time::macros::date;

impl Subject {
    fn parse(&self) -> Document<'_> {
        Document::parse(self.body.as_str()).expect("a sample is valid JSON")
    }

    fn authenticate(&self, document: &Document<'_>) -> Verified {
        let presented = match self.provider.authenticates_by_header() {
            true => self.provider.credentials_in_header(&self.headers),
            false => self.provider.credentials_in_body(document.root()),
        };
        self.accounts.verify(presented).expect("a sample has the right credentials")
    }

    fn payload(&self, proof: &Verified, document: Document<'_>) -> Payload {
        Payload::new(proof, document, &self.provider.credential_members())
    }

    fn normalize(&self, payload: &Payload) -> Booking {
        self.provider.normalize(payload, date!(2026 - 01 - 01)).expect("a sample can be normalized")
    }

    fn redact(&self, payload: Payload) -> RedactedPayload {
        payload.redact(&self.redactor, &self.provider.credential_members())
    }

    fn hash(&self, redacted: &RedactedPayload) -> [u8; 32] {
        redacted.content_hash(self.provider.volatile_members())
    }
}

fn steps(criterion: &mut Criterion) {
    for provider in PROVIDERS {
        let subject = Subject::new(*provider);
        let document = subject.parse();
        let payload = || subject.payload(&subject.authenticate(&document), subject.parse());
        let (sent, redacted) = (payload(), subject.redact(payload()));
        let mut group = criterion.benchmark_group(provider.name());
        group.bench_function("parse", |bencher| bencher.iter(|| subject.parse()));
        group.bench_function("authenticate", |bencher| bencher.iter(|| subject.authenticate(&document)));
        group.bench_function("redact", |bencher| {
            bencher.iter_batched(
                || (subject.authenticate(&document), subject.parse()),
                |(proof, document)| subject.redact(subject.payload(&proof, document)),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("normalize", |bencher| bencher.iter(|| subject.normalize(&sent)));
        group.bench_function("hash", |bencher| bencher.iter(|| subject.hash(&redacted)));
        group.bench_function("whole", |bencher| {
            bencher.iter(|| {
                let document = subject.parse();
                let payload = subject.payload(&subject.authenticate(&document), document);
                let booking = subject.normalize(&payload);
                let redacted = subject.redact(payload);
                (subject.hash(&redacted), booking, redacted)
            });
        });
        group.finish();
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);
