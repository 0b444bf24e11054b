//! The routes of the providers in the description of the API: at their configured paths, on the public listener.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::{
    ContentBuilder, HttpMethod, OpenApi, PathItem, RefOr, Response, ResponseBuilder,
    path::OperationBuilder,
    request_body::RequestBodyBuilder,
    schema::{ObjectBuilder, Schema, Type},
    security::SecurityRequirement,
    server::ServerBuilder,
};

use crate::providers::{Provider, Reply};

/// Adds the routes.
pub(super) fn describe(description: &mut OpenApi, paths: &[(String, &'static dyn Provider)]) {
    for (path, provider) in paths {
        let item = PathItem::new(HttpMethod::Post, operation(*provider));
        description.paths.paths.insert(path.clone(), item);
    }
}

fn operation(provider: &dyn Provider) -> OperationBuilder {
    let credentials: Vec<_> = provider.credentials().iter().map(|_| "…").collect();
    let sample: Value = serde_json::from_str(&provider.sample(&credentials, "B-1").body).unwrap_or_default();
    let body = ContentBuilder::new().schema(Some(any_object())).example(Some(sample)).build();
    let mut replies: BTreeMap<u16, Vec<Value>> = BTreeMap::new();
    for reply in Reply::samples() {
        let encoded = provider.encode(&reply);
        let body = serde_json::from_str(&encoded.body).unwrap_or_default();
        replies.entry(encoded.status.as_u16()).or_default().push(body);
    }
    let operation = OperationBuilder::new()
        .tag("providers")
        .operation_id(Some(provider.name()))
        .summary(Some(format!("A notification of {}, on the public listener.", provider.name())))
        .servers(Some([ServerBuilder::new().url("/").description(Some("the public listener")).build()]))
        // its credentials are the provider's own
        .securities(Some([SecurityRequirement::default()]))
        .request_body(Some(RequestBodyBuilder::new().content("application/json", body).build()));
    replies
        .into_iter()
        .fold(operation, |operation, (status, samples)| operation.response(status.to_string(), response(&samples)))
}

fn response(samples: &[Value]) -> RefOr<Response> {
    let content = ContentBuilder::new().schema(Some(any_object())).example(samples.first().cloned()).build();
    let description = "In the provider's own words: docs/providers.md.";
    RefOr::T(ResponseBuilder::new().description(description).content("application/json", content).build())
}

fn any_object() -> RefOr<Schema> {
    let object = ObjectBuilder::new().schema_type(Type::Object).build();
    RefOr::T(Schema::Object(object))
}
