//! The real binary's start and stop.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::spawn_blocking,
};

use crate::support::{Answer, Command, Database, Service, provider, settings};

/// Sends SIGTERM and waits until the service has noticed.
async fn stopping(service: Service) -> Service {
    service.process.signal("TERM");
    let waiting = spawn_blocking(move || {
        service.process.line("\"stopping\"");
        service
    });
    waiting.await.unwrap()
}

#[tokio::test]
async fn it_starts_answers_and_stops_on_either_signal() {
    let database = Database::new().await;
    for signal in ["TERM", "INT"] {
        let mut service = Service::start(&database, &[]).await;
        for (path, status) in [("/livez", "alive"), ("/readyz", "ready")] {
            let answer = Answer::of(service.request("GET", path)).await;
            assert_eq!((answer.status, answer.body["status"].as_str()), (200, Some(status)));
        }
        let ended = spawn_blocking(move || {
            service.process.signal(signal);
            (service.process.wait(), service.process.output())
        });
        let (status, output) = ended.await.unwrap();
        assert_eq!(status.code(), Some(0), "{output}");
        assert!(output.contains(&format!("SIG{signal}")) && output.contains("\"stopped\""), "{output}");
    }
}

#[tokio::test]
async fn while_it_drains_it_is_not_ready_and_still_accepts() {
    let database = Database::new().await;
    let long = [("TICKET_WEBHOOKS__SERVER__DRAIN_DELAY_MS", "60000")];
    let service = Service::start(&database, &long).await;
    let mut service = stopping(service).await;
    let ready = Answer::of(service.request("GET", "/readyz")).await;
    assert_eq!((ready.status, ready.body["reason"].as_str()), (503, Some("stopping")));
    assert_eq!(Answer::of(service.request("GET", "/livez")).await.status, 200);
    let provider = provider("order_ticketed");
    assert_eq!(service.post(provider, (provider.delivery)("main", "B1").to_string()).await.status, 200);
    // a second signal does not wait for the rest of the delay
    service.process.signal("TERM");
    let (status, output) = spawn_blocking(move || (service.process.wait(), service.process.output())).await.unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(output.contains("second signal"), "{output}");
}

#[tokio::test]
async fn what_is_in_flight_is_finished_before_it_stops() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let provider = provider("order_ticketed");
    let body = (provider.delivery)("main", "B1").to_string();
    let mut connection = TcpStream::connect(service.public.trim_start_matches("http://")).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", provider.path, body.len());
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&body.as_bytes()[..20]).await.unwrap();
    // the head has been read once the service answers another connection
    assert_eq!(Answer::of(service.request("GET", "/livez")).await.status, 200);
    let mut service = stopping(service).await;
    while TcpStream::connect(service.public.trim_start_matches("http://")).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    connection.write_all(&body.as_bytes()[20..]).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let status = spawn_blocking(move || service.process.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(database.events().await.len(), 1);
}

/// Makes a database accept connections or not, over a connection to another one.
async fn connections(other: &Database, database: &Database, may_connect: bool) {
    let url = database.url();
    let name = url.trim_start_matches("postgres:///").split('?').next().unwrap();
    other.execute(&format!("alter database {name} with allow_connections {may_connect}")).await;
}

#[tokio::test]
async fn a_task_that_fails_during_the_drain_delay_ends_the_service_with_an_error() {
    let other = Database::new().await;
    let database = Database::with("template template0 encoding 'LATIN1' locale 'C'").await;
    connections(&other, &database, false).await;
    let long = [("TICKET_WEBHOOKS__SERVER__DRAIN_DELAY_MS", "60000")];
    let service = Service::start(&database, &long).await;
    let mut service = stopping(service).await;
    // the task that waits for the database now fails: a database with this encoding cannot be used
    connections(&other, &database, true).await;
    let (status, output) = spawn_blocking(move || (service.process.wait(), service.process.output())).await.unwrap();
    assert_eq!(status.code(), Some(1), "{output}");
    let logged = output.lines().find(|line| line.contains("the service failed")).unwrap();
    let logged: serde_json::Value = serde_json::from_str(logged).unwrap();
    assert_eq!(logged["level"], "ERROR");
    let error = logged["error"].as_str().unwrap();
    assert!(error.contains("the database has the encoding LATIN1"), "{error}");
}

#[tokio::test]
async fn a_start_that_cannot_work_says_why() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let taken = service.public.trim_start_matches("http://").to_owned();
    let mut variables = settings(&database.url());
    variables.push(("TICKET_WEBHOOKS__SERVER__PUBLIC_ADDRESS".to_owned(), taken.clone()));
    let command = Command::new(&["serve"]).envs(&variables);
    let (code, _, errors) = spawn_blocking(move || command.run()).await.unwrap();
    assert_eq!(code, 1);
    assert!(errors.contains(&format!("server.public_address: cannot listen on {taken}")), "{errors}");
    let (code, _, errors) = Command::new(&["serve"]).env("RUST_LOG", "=nonsense=").envs(&variables).run();
    assert_eq!(code, 1);
    assert!(errors.contains("RUST_LOG"), "{errors}");
}
