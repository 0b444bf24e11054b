//! A client of the admin API that checks every answer against `/openapi.json`.

use jsonschema::Validator;
use serde_json::Value;

use super::{Answer, Database, Service};

pub const ADMIN_TOKEN: &str = "admin-token-5c1-for-tests";

/// The API of a running service.
pub struct ApiClient {
    pub url: String,
    client: reqwest::Client,
    description: Value,
}

impl ApiClient {
    /// Starts a service with the token, and a client of it.
    pub async fn start(database: &Database, variables: &[(&str, &str)]) -> (Service, Self) {
        let token = [("TICKET_WEBHOOKS__ADMIN__TOKEN", ADMIN_TOKEN)];
        let service = Service::start(database, &[&token[..], variables].concat()).await;
        let client = Self::of(&service.admin).await;
        (service, client)
    }

    /// Of a service that was started with the token.
    pub async fn of(admin: &str) -> Self {
        let client = reqwest::Client::new();
        let description = client.get(format!("{admin}/openapi.json")).bearer_auth(ADMIN_TOKEN);
        let description = Answer::of(description).await.body;
        Self { url: admin.to_owned(), client, description }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask("PUT", path, Some(body)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, None).await
    }

    /// An answer of JSON that is as described.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let request =
            self.client.request(method.parse().unwrap(), format!("{}{path}", self.url)).bearer_auth(ADMIN_TOKEN);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = Answer::of(request).await;
        self.check(method, path, &answer);
        answer
    }

    /// Whether the answer is one that the description has for the route.
    fn check(&self, method: &str, path: &str, answer: &Answer) {
        let path = path.split('?').next().unwrap();
        let paths = self.description["paths"].as_object().unwrap();
        let Some((template, route)) = paths.iter().find(|(template, _)| is_of(template, path)) else {
            assert_eq!(answer.status, 404, "{method} {path} is not described: {answer:?}");
            return;
        };
        let Some(operation) = route.get(method.to_ascii_lowercase()) else {
            assert_eq!(answer.status, 405, "{method} {template} is not described: {answer:?}");
            return;
        };
        let response = &operation["responses"][answer.status.to_string()];
        assert!(response.is_object(), "{method} {template} has no answer {}: {answer:?}", answer.status);
        let Some(schema) = response.pointer("/content/application~1json/schema") else { return };
        let errors: Vec<_> = self.validator(schema).iter_errors(&answer.body).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{method} {template} answers {}, not as described: {errors:#?}", answer.body);
    }

    fn validator(&self, schema: &Value) -> Validator {
        let mut schema = schema.clone();
        schema["components"] = self.description["components"].clone();
        jsonschema::draft202012::new(&schema).unwrap()
    }
}

/// Whether a path is one of a template such as `/v1/consumers/{name}`.
fn is_of(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(path).all(|(part, given)| part.starts_with('{') || *part == given)
}
