use std::fs;

use super::{URL, accepted, refused};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn a_forward_is_checked_and_shown_without_its_secrets() {
    let forward = |lines: &str| format!("[database]\nurl = '{URL}'\n[forward.back-office]\n{lines}\n");
    let url = "url = 'https://back-office.example:8443/hook/hunter2?key=hunter2'";
    let whole = forward(&format!(
        "{url}\nsecrets = ['{SECRET}']\nenvironments = ['live']\nproviders = ['order_ticketed']\nstatuses = ['ticketed']\n\
         include_payload = true\nfrom = 'start'\nmax_in_flight = 4"
    ));
    let shown = accepted(&whole, &[]);
    for part in [
        "[forward.back-office]",
        "https://back-office.example:8443/[redacted]",
        "secrets = [\"[redacted]\"]",
        "environments = [\"live\"]",
        "max_in_flight = 4",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("hunter2") && !shown.contains(SECRET), "{shown}");
    for (lines, named) in [
        ("secrets = ['SECRET']", ["forward.back-office.url", "missing"]),
        ("url = 'http://back-office.example/hunter2'\nsecrets = ['SECRET']", ["forward.back-office.url", "https"]),
        (
            "url = 'https://hunter2:hunter2@back-office.example/'\nsecrets = ['SECRET']",
            ["forward.back-office.url", "without user"],
        ),
        (
            "url = 'https://back-office.example/#hunter2'\nsecrets = ['SECRET']",
            ["forward.back-office.url", "without #"],
        ),
        ("url = 'https://127.0.0.1:99999/'\nsecrets = ['SECRET']", ["forward.back-office.url", "from 1 to 65535"]),
        ("url = 'https://a.example:0/'\nsecrets = ['SECRET']", ["forward.back-office.url", "from 1 to 65535"]),
        ("url = 'https://a.example:/'\nsecrets = ['SECRET']", ["forward.back-office.url", "from 1 to 65535"]),
        ("url = 'https://[::1]:65536/'\nsecrets = ['SECRET']", ["forward.back-office.url", "from 1 to 65535"]),
        ("url = 'https://a..example/'\nsecrets = ['SECRET']", ["forward.back-office.url", "the address of a host"]),
        ("url = 'https://[::zz]/'\nsecrets = ['SECRET']", ["forward.back-office.url", "URL"]),
        ("url = 'http://[::2]:80/'\nsecrets = ['SECRET']", ["forward.back-office.url", "https"]),
        ("url = '/hunter2'\nsecrets = ['SECRET']", ["forward.back-office.url", "a URL such as"]),
        ("url = 'http://127.0.0.1.example/'\nsecrets = ['SECRET']", ["forward.back-office.url", "https"]),
        ("URL", ["forward.back-office.secrets", "one secret, or two"]),
        ("URL\nsecrets = ['whsec_aHVudGVyMg==']", ["forward.back-office.secrets", "24 to 64 bytes"]),
        ("URL\nsecrets = ['SECRET', 'SECRET']", ["forward.back-office.secrets", "two different"]),
        ("URL\nsecrets = ['SECRET', 'SECRET', 'SECRET']", ["forward.back-office.secrets", "one secret, or two"]),
        ("URL\nsecrets = ['SECRET']\nenvironments = ['hunter2']", ["forward.back-office.environments", "live"]),
        ("URL\nsecrets = ['SECRET']\nproviders = ['hunter2']", ["forward.back-office.providers", "order_ticketed"]),
        ("URL\nsecrets = ['SECRET']\nstatuses = ['hunter2']", ["forward.back-office.statuses", "partially_ticketed"]),
        ("URL\nsecrets = ['SECRET']\nfrom = 'hunter2'", ["forward.back-office.from", "start"]),
        ("URL\nsecrets = ['SECRET']\nmax_in_flight = 1", ["forward.back-office.max_in_flight", "from 2 to 64"]),
        ("URL\nsecrets = ['SECRET']\nmax_in_flight = 65", ["forward.back-office.max_in_flight", "from 2 to 64"]),
        ("URL\nsecrets_file = '/nowhere'", ["forward.back-office.secrets_file", "cannot be read"]),
        ("URL\nsecrets = ['SECRET']\nretries = 5", ["forward.back-office.retries", "unknown key"]),
    ] {
        refused(&forward(&lines.replace("URL", url).replace("SECRET", SECRET)), &[], &named);
    }
    for url in ["https://a.example", "http://LocalHost:1/", "http://127.1.2.3:65535/", "https://[2001:db8::1]:8443/a?b"]
    {
        accepted(&forward(&format!("url = '{url}'\nsecrets = ['{SECRET}']")), &[]);
    }
    refused(&whole.replace("back-office]", "'Back Office']"), &[], &["forward", "a-z"]);
}

#[test]
fn the_secrets_of_a_forward_come_from_files_and_variables_too() {
    let directory = tempfile::tempdir().unwrap();
    let files = ["one", "two"].map(|name| directory.path().join(name).display().to_string());
    fs::write(&files[0], format!("{SECRET}\n")).unwrap();
    fs::write(&files[1], "whsec_bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXch\n").unwrap();
    let base = format!("[database]\nurl = '{URL}'\n[forward.one]\nurl = 'http://[::1]:8000/'\n");
    let two = "secrets = [\"[redacted]\", \"[redacted]\"]";
    assert!(accepted(&format!("{base}secrets_file = {files:?}"), &[]).contains(two));
    assert!(accepted(&format!("{base}secrets_file = {:?}", files[0]), &[]).contains("secrets = [\"[redacted]\"]"));
    let variable = "TICKET_WEBHOOKS__FORWARD__ONE__SECRETS";
    let both = format!("{SECRET},whsec_bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXch");
    assert!(accepted(&base, &[(variable, &both)]).contains(two));
    assert!(accepted(&base, &[(&format!("{variable}_FILE"), &files[0])]).contains("secrets = [\"[redacted]\"]"));
    let url = "TICKET_WEBHOOKS__FORWARD__ONE__URL";
    refused(&base, &[(variable, SECRET), (url, "http://elsewhere.example/hunter2")], &[url, "https"]);
}
