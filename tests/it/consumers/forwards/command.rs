use std::time::Duration;

use super::deliver;
use crate::support::{ApiClient, Command, Database, Reaction, Received, Receiver, SECRET};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_prints_a_secret_and_a_line_for_each_request() {
    let database = Database::new().await;
    let receiver = Receiver::start(|received| {
        Reaction::status(if received.earlier == 0 && received.data()["booking_ref"] == "two" { 503 } else { 200 })
    })
    .await;
    let (service, _) = ApiClient::start(&database, &[]).await;
    deliver(&service, "one", "first").await;
    let command =
        Command::new(&["forward", "--to", &receiver.url, "--from-start"]).env("DATABASE_URL", &database.url());
    let mut process = command.start();
    process.line("whsec_");
    let line = process.line("booking_callback/live/one");
    assert!(line.contains("200 in ") && line.contains(receiver.received()[0].id()), "{line}");
    deliver(&service, "two", "first").await;
    assert!(process.line("booking_callback/live/two").contains("503 in "));
    assert!(process.line("attempt 2").contains("200 in "));
    // events of one booking follow one another at once
    for remark in ["first", "second", "third", "fourth"] {
        deliver(&service, "four", remark).await;
    }
    let of_four =
        |received: &[Received]| received.iter().filter(|one| one.data()["booking_ref"] == "four").count() == 4;
    receiver.until_within(Duration::from_secs(3), of_four).await;
    process.signal("INT");
    assert!(process.wait().success());
    let kept: i64 = sqlx::query_scalar("select count(*) from forwards").fetch_one(&database.pool).await.unwrap();
    assert_eq!(kept, 0, "it keeps no position");
    // without --from-start
    let command =
        Command::new(&["forward", "--to", &receiver.url, "--secret", SECRET]).env("DATABASE_URL", &database.url());
    let process = command.start();
    process.line(SECRET);
    deliver(&service, "three", "first").await;
    process.line("booking_callback/live/three");
    assert!(!process.output().contains("live/one"));
}

#[test]
fn a_command_that_cannot_send_says_why() {
    for (arguments, why) in [
        (vec!["--to", "http://back-office.example/"], "https"),
        (vec!["--to", "https://user:password@back-office.example/"], "without user and password"),
        (vec!["--to", "ftp://localhost/"], "https"),
        (vec!["--to", "localhost"], "a URL"),
        (vec!["--to", "http://127.0.0.1:1/", "--secret", "whsec_c2hvcnQ="], "24 to 64 bytes"),
        (vec![], "--to"),
    ] {
        let (code, _, errors) = Command::new(&[&["forward"][..], &arguments].concat()).run();
        assert_eq!(code, 2, "{arguments:?}: {errors}");
        assert!(errors.contains(why), "{arguments:?}: {errors}");
    }
}
