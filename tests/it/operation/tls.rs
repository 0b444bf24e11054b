//! Postgres over TLS: a private authority, the server's name, certificates of clients.

mod secured;

use serde_json::json;
use sqlx::Executor;
use tokio::task::spawn_blocking;

use self::secured::Secured;
use crate::support::{Command, Database, PROVIDERS, Service, provider, settings};

/// Over this URL, with these arguments and variables.
async fn start(url: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Service {
    let mut settings = settings(url);
    settings.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let command = Command::new(arguments).envs(&settings);
    spawn_blocking(move || Service::over(command.start())).await.unwrap()
}

/// What `migrate` says that does not get to the database over this URL. It must not show the password.
async fn refused(url: String) -> String {
    let command = Command::new(&["migrate"]).env("DATABASE_URL", &url);
    let (code, _, errors) = spawn_blocking(move || command.run()).await.unwrap();
    assert_ne!(code, 0, "{url}");
    assert!(!errors.contains("hunter2"), "{errors}");
    errors
}

#[tokio::test]
async fn every_connection_is_verified_and_shows_its_certificate() {
    let secured = Secured::start(false).await;
    let service = start(&secured.url("localhost", &["ca", "service"]), &["serve"], &[]).await;
    for provider in &PROVIDERS {
        assert_eq!(service.post(provider, (provider.delivery)("main", "B1").to_string()).await.status, 200);
    }
    let connections: Vec<(bool, Option<String>)> = sqlx::query_as(
        "select ssl, client_dn from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'service'",
    )
    .fetch_all(&secured.server.pool())
    .await
    .unwrap();
    assert!(connections.len() >= 2, "a writer and the pool: {connections:?}");
    for connection in connections {
        assert_eq!(connection, (true, Some("/CN=service".to_owned())));
    }
    service.stop().await;
}

#[tokio::test]
async fn what_cannot_be_verified_is_refused_and_says_why() {
    let secured = Secured::start(false).await;
    for (url, why) in [
        (secured.url("localhost", &["stranger", "service"]), "invalid peer certificate: UnknownIssuer"),
        (secured.url("127.0.0.1", &["ca", "service"]), "certificate not valid for name \"127.0.0.1\""),
        (secured.url("localhost", &["ca"]), "connection requires a valid client certificate"),
        (secured.url("localhost", &["ca", "another"]), "certificate authentication failed for user \"service\""),
        (secured.url("localhost", &["ca", "forged"]), "connection requires a valid client certificate"),
    ] {
        let errors = refused(url.clone()).await;
        let is_alert = why.starts_with("connection requires") && errors.contains("received fatal alert");
        assert!(errors.contains(why) || is_alert, "{url}: {errors}");
    }
    let database = Database::empty().await;
    let errors = refused(database.url().replace("sslmode=disable", "sslmode=verify-full")).await;
    assert!(errors.contains("server does not support TLS"), "{errors}");
    let errors = refused(secured.url("localhost", &["nowhere"])).await;
    assert!(errors.contains("DATABASE_URL: database.url: sslrootcert: "), "{errors}");
    assert!(errors.contains("nowhere.pem cannot be read"), "{errors}");
}

#[tokio::test]
async fn a_new_password_of_the_database_counts_from_the_next_connection_after_sighup() {
    let secured = Secured::start(true).await;
    let password = secured.directory.path().join("password");
    std::fs::write(&password, "hunter2/first\n").unwrap();
    let url = secured.url("localhost", &["ca"]).replace("service:hunter2", "guest");
    let password_file = [("TICKET_WEBHOOKS__DATABASE__PASSWORD_FILE", password.to_str().unwrap())];
    let service = start(&url, &["serve", "--no-migrate"], &password_file).await;
    let (pool, provider) = (secured.server.pool(), provider("order_ticketed"));
    let post = async |booking: &str| service.post(provider, (provider.delivery)("main", booking).to_string()).await;
    assert_eq!(post("B1").await.status, 200);

    pool.execute("alter role guest password 'hunter2/second'").await.unwrap();
    let cut_off = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'guest'";
    pool.execute(cut_off).await.unwrap();
    let refused = post("B2").await;
    assert_eq!((refused.status, &refused.body["status"]), (503, &json!(503)));
    std::fs::write(&password, "hunter2/second\n").unwrap();
    service.process.signal("HUP");
    let service = spawn_blocking(move || {
        service.process.line("\"reloaded\"");
        service
    });
    let service = service.await.unwrap();
    for booking in ["B2", "B3"] {
        let answer = service.post(provider, (provider.delivery)("main", booking).to_string()).await;
        assert_eq!(answer.status, 200, "{booking}");
    }
    let output = service.stop().await;
    assert!(output.contains("password authentication failed") && !output.contains("hunter2"), "{output}");
}
