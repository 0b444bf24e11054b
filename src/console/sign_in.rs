//! Signing in with the admin token and a name, and out.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Query, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{
    Client, Console,
    page::{Frame, Page},
    session::{self, MAX_NAME_LENGTH, Session},
};
use crate::{addresses::ClientPrefix, api::retry_after_header};

#[derive(Default, Deserialize)]
pub(super) struct SignInQuery {
    /// Where to go then.
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
pub(super) struct SignInForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    next: String,
    name: String,
    is_token_configured: bool,
    problem: Option<String>,
    max_name_length: usize,
}

/// Lets requests of people who are signed in through, with their session as an extension. Others are sent to the sign-in.
pub(super) async fn require(State(console): State<Arc<Console>>, mut request: Request, next: Next) -> Response {
    if let Some(session) = Session::of(request.headers(), &console.token) {
        request.extensions_mut().insert(session);
        return next.run(request).await;
    }
    let uri = request.uri();
    // what was to be changed is not done later
    let path =
        if request.method() == Method::GET { uri.path_and_query().map_or("/", |path| path.as_str()) } else { "/" };
    Redirect::to(&format!("/sign-in?next={}", utf8_percent_encode(path, NON_ALPHANUMERIC))).into_response()
}

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    Query(query): Query<SignInQuery>,
    headers: HeaderMap,
) -> Response {
    if Session::of(&headers, &console.token).is_some() {
        return Redirect::to(local_path(&query.next)).into_response();
    }
    page(&console, &query.next, String::new(), None).into_response()
}

pub(super) async fn sign_in(
    State(console): State<Arc<Console>>,
    Extension(client): Extension<Client>,
    Form(SignInForm { name, token, next }): Form<SignInForm>,
) -> Response {
    let name = name.trim().to_owned();
    if !console.token.is(token.trim()) {
        return match console.token.count_failure(client.address) {
            Ok(()) => {
                let problem = "This is not the admin token. It is admin.token in the configuration of the service.";
                (StatusCode::UNAUTHORIZED, page(&console, &next, name, Some(problem.to_owned()))).into_response()
            }
            Err(wait) => {
                let problem =
                    format!("Too many wrong tokens came from your address. Try again in {} s.", wait.as_secs() + 1);
                let headers = [(header::RETRY_AFTER, retry_after_header(wait))];
                (StatusCode::TOO_MANY_REQUESTS, headers, page(&console, &next, name, Some(problem))).into_response()
            }
        };
    }
    // a browser asks for one; whoever gives none is seen to have given none
    let name = if name.is_empty() { "unnamed".to_owned() } else { name };
    if name.chars().count() > MAX_NAME_LENGTH || name.chars().any(char::is_control) {
        let problem = format!("A name has up to {MAX_NAME_LENGTH} characters.");
        return (StatusCode::BAD_REQUEST, page(&console, &next, name, Some(problem))).into_response();
    }
    tracing::info!(name, client.address = %ClientPrefix::of(client.address), "signed in to the console");
    let cookie = Session::begin(name).cookie(&console.token, client.is_https);
    let headers = cookie.map(|cookie| [(header::SET_COOKIE, cookie)]);
    (headers.map(HeaderMap::from_iter), Redirect::to(local_path(&next))).into_response()
}

pub(super) async fn sign_out(Extension(client): Extension<Client>) -> Response {
    ([(header::SET_COOKIE, session::ended(client.is_https))], Redirect::to("/sign-in")).into_response()
}

fn page(console: &Console, next: &str, name: String, problem: Option<String>) -> Page<impl Template + use<>> {
    Page(SignInPage {
        frame: Frame::bare(),
        next: local_path(next).to_owned(),
        name,
        is_token_configured: console.token.is_configured(),
        problem,
        max_name_length: MAX_NAME_LENGTH,
    })
}

/// A path of this console; whatever else is asked for, its first page.
fn local_path(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//") && next.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path && !next.contains('\\') { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::local_path;

    #[test]
    fn nobody_is_sent_elsewhere() {
        assert_eq!(local_path("/events?q=A%20B"), "/events?q=A%20B");
        for elsewhere in
            ["", "events", "//evil.example", "/\\evil.example", "https://evil.example", "/\r\nset-cookie: a=b"]
        {
            assert_eq!(local_path(elsewhere), "/", "{elsewhere}");
        }
    }
}
