//! The commands beside `serve`.

use std::{collections::HashMap, fs::Permissions, os::unix::fs::PermissionsExt, process};

use serde_json::json;
use tokio::task::spawn_blocking;

use crate::support::{Command, Database, Service, settings};

#[tokio::test]
async fn send_sample_posts_what_the_service_accepts() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let url = service.public.clone();
    let variables = settings(&database.url());
    let run = move |arguments: &[&str]| {
        let arguments = [&["send-sample", "--url", &url], arguments].concat();
        Command::new(&arguments).envs(&variables).run()
    };
    let run = spawn_blocking(move || {
        for provider in ["ticket_status_update", "booking_callback", "order_ticketed"] {
            let (code, output, errors) = run(&[provider, "--count", "2"]);
            assert_eq!((code, output.matches("200 OK").count()), (0, 2), "{output} {errors}");
            let (code, output, _) = run(&[provider, "--account", "other", "--new-booking", "--count", "3"]);
            assert_eq!((code, output.matches("200 OK").count()), (0, 3), "{output}");
        }
        let (code, _, errors) = run(&["order_ticketed", "--account", "nobody"]);
        assert_eq!((code, errors.contains("main, other")), (1, true), "{errors}");
        let (code, _, errors) = run(&["acme"]);
        assert_eq!((code, errors.contains("order_ticketed")), (1, true), "{errors}");
    });
    run.await.unwrap();
    let query = "select environment, count(*) as bookings, sum(delivery_count) as deliveries \
                 from ticket_events group by environment order by environment";
    let expected = [
        json!({"environment": "live", "bookings": 3, "deliveries": 6}),
        json!({"environment": "test", "bookings": 9, "deliveries": 9}),
    ];
    assert_eq!(database.rows(query).await, expected);
    let warnings = "select warnings from ticket_events where cardinality(warnings) > 0";
    assert!(database.rows(warnings).await.is_empty());
}

#[tokio::test]
async fn send_sample_fails_when_a_delivery_is_refused_or_nobody_answers() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let url = service.public.clone();
    let variables = settings(&database.url());
    let (refused, unreachable) = spawn_blocking(move || {
        let wrong = ("TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__ACCOUNTS__MAIN__CID", "wrong");
        let sample = |url: &str| Command::new(&["send-sample", "order_ticketed", "--url", url]).envs(&variables);
        (sample(&url).env(wrong.0, wrong.1).run(), sample("http://127.0.0.1:1").run())
    })
    .await
    .unwrap();
    assert_eq!((refused.0, refused.1.contains("401")), (1, true), "{refused:?}");
    assert_eq!((unreachable.0, unreachable.2.contains("http://127.0.0.1:1/webhooks/order-ticketed")), (1, true));
}

#[tokio::test]
async fn healthcheck_tells_whether_the_service_is_ready() {
    let database = Database::new().await;
    let service = Service::start(&database, &[]).await;
    let address = service.public.trim_start_matches("http://").to_owned();
    let check = |address: &str| {
        let variables = settings("postgres:///unused");
        let command = Command::new(&["healthcheck"]).envs(&variables);
        let command = command.env("TICKET_WEBHOOKS__SERVER__PUBLIC_ADDRESS", address);
        spawn_blocking(move || command.run())
    };
    assert_eq!(check(&address).await.unwrap().0, 0);
    let everywhere = address.replace("127.0.0.1", "0.0.0.0");
    assert_eq!(check(&everywhere).await.unwrap().0, 0);
    database.execute("alter table ticket_events rename to elsewhere").await;
    // the check of the database is cached for a moment
    let (mut code, mut output, mut tries) = (0, String::new(), 0);
    while code == 0 && tries < 1000 {
        (code, output, _) = check(&address).await.unwrap();
        tries += 1;
    }
    assert_eq!((code, output.contains("not ready")), (1, true), "{output}");
    service.stop().await;
    assert_eq!(check(&address).await.unwrap().0, 1);
}

#[tokio::test]
async fn dev_prints_lines_that_work_when_pasted() {
    let directory = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
    let path = directory.path().to_owned();
    let pasted = spawn_blocking(move || {
        let mut dev = Command::new(&["dev"]).env("PORT", "0").directory(&path).start();
        dev.line("Ctrl-C");
        let lines: Vec<String> = dev.output().lines().map(str::to_owned).collect();
        let paste = |line: &str| {
            let output = process::Command::new("bash").args(["-c", line]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let after = |comment: &str| lines[lines.iter().position(|line| line == comment).unwrap() + 1].clone();
        let mut answers = HashMap::new();
        for provider in ["ticket_status_update", "booking_callback", "order_ticketed"] {
            let line = after(&format!("# {provider}"));
            answers.insert(provider, [paste(&line), paste(&line)]);
        }
        let page = paste(&after("# what was recorded, for the agency's own systems (docs/consumers.md)"));
        assert_eq!(page.matches("\"type\":\"revision\"").count(), 3, "{page}");
        let rows = paste(&after("# the same in SQL"));
        dev.signal("INT");
        assert_eq!(dev.wait().code(), Some(0), "{}", dev.output());
        (answers, rows)
    });
    let (answers, rows) = pasted.await.unwrap();
    for [first, second] in answers.values() {
        assert_eq!(first, second);
    }
    assert_eq!(answers["order_ticketed"][0], "{\"status\":0,\"msg\":\"success\"}\n");
    assert_eq!(answers["booking_callback"][0], "{\"Error\":{\"ErrorCode\":0,\"ErrorMessage\":\"\"}}\n");
    assert!(answers["ticket_status_update"][0].contains("Ticket Status Updated Successfully"));
    assert_eq!(rows.matches("DEMO-1").count(), 3, "{rows}");
}

#[test]
fn help_explains_every_command() {
    let (code, help, _) = Command::new(&["--help"]).run();
    assert_eq!(code, 0);
    for command in ["dev", "serve", "migrate", "check-config", "send-sample", "healthcheck"] {
        assert!(help.contains(command), "{help}");
        let (code, help, _) = Command::new(&[command, "--help"]).run();
        assert_eq!((code, help.lines().count() > 4), (0, true), "{help}");
    }
    assert_eq!(Command::new(&["no-such-command"]).run().0, 2);
}

#[test]
fn the_version_names_the_commit_where_it_is_known() {
    let (code, version, _) = Command::new(&["--version"]).run();
    assert_eq!(code, 0);
    let commit = version.trim_end().strip_prefix("ticket-webhooks 0.1.0").unwrap();
    let hash = commit.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
    let is_hash = |hash: &str| hash.len() == 7 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(commit.is_empty() || hash.is_some_and(is_hash), "{version}");
}
