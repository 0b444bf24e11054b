use std::{fs::Permissions, os::unix::fs::PermissionsExt};

use tokio::task::spawn_blocking;

use crate::support::{Browser, Command};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_link_that_dev_prints_signs_in_and_its_samples_are_of_each_kind() {
    let directory = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
    let path = directory.path().to_owned();
    let (mut dev, link) = spawn_blocking(move || {
        let dev = Command::new(&["dev", "--samples"]).env("PORT", "0").directory(&path).start();
        let line = dev.line("/sign-in#");
        (dev, line[line.find("http://").unwrap()..].trim().to_owned())
    })
    .await
    .unwrap();
    let (base, path) = link.split_at(link.find("/sign-in").unwrap());
    let browser = Browser::start(base).await;
    browser.go(path).await;
    browser.until_text("Overview").await;
    browser.until("document.querySelector('.counts').innerText.includes('1 overdue')").await;
    browser.until("document.querySelector('.counts').innerText.includes('1 unprocessed')").await;
    let text = "document.body.innerText.replace(/\\s+/g, ' ')";
    browser.until(&format!("{text}.includes('not authenticated 1')")).await;
    browser.go("/events").await;
    browser.until_text("partially ticketed").await;
    browser.until_text("was pending").await;
    browser.go("/connect/order_ticketed").await;
    browser.until_text("/webhooks/order-tickted").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    spawn_blocking(move || {
        dev.signal("INT");
        assert!(dev.wait().success(), "{}", dev.output());
    })
    .await
    .unwrap();
}
