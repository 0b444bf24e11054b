//! The layers of the configuration, and its errors, which name the origin, the key, and what was expected.

/// `[forward.*]`.
mod forwards;

use std::{fs, path::Path};

use crate::support::Command;

const URL: &str = "postgres://agency:hunter2@db.example:6432/tickets";

/// Runs `check-config` with a file of this text.
fn check(text: &str, variables: &[(&str, &str)]) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("service.toml");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(&["check-config", "--config", file.to_str().unwrap()]);
    for (name, value) in variables {
        command = command.env(name, value);
    }
    command.directory(directory.path()).run()
}

fn accepted(text: &str, variables: &[(&str, &str)]) -> String {
    let (code, output, errors) = check(text, variables);
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    output
}

/// `named`: what the error must contain.
fn refused(text: &str, variables: &[(&str, &str)], named: &[&str]) {
    let (code, output, errors) = check(text, variables);
    assert_eq!((code, output.as_str()), (2, ""), "{text} {errors}");
    for part in named {
        assert!(errors.contains(part), "{part:?} is not named in: {errors}");
    }
    assert!(!errors.contains("hunter2"), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

fn with_account(account: &str) -> String {
    format!("[database]\nurl = '{URL}'\n[providers.booking_callback.accounts.live]\n{account}")
}

#[test]
fn the_files_in_config_are_right() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let default = fs::read_to_string(config.join("default.toml")).unwrap();
    let url = [("DATABASE_URL", URL)];
    assert_eq!(accepted(&default, &url), accepted("", &url), "default.toml says what the defaults are");

    let example = fs::read_to_string(config.join("example.toml")).unwrap();
    let secrets = tempfile::tempdir().unwrap();
    fs::write(secrets.path().join("secret"), "hunter2\n").unwrap();
    let secret = secrets.path().join("secret").display().to_string();
    let mut names = Vec::new();
    let readable: String = example
        .lines()
        .enumerate()
        .map(|(number, line)| match line.split_once("_file = ") {
            Some((key, path)) => {
                names.push(path.to_owned());
                let own = format!("{secret}-{number}");
                fs::write(&own, format!("hunter2-{number}\n")).unwrap();
                format!("{key}_file = \"{own}\"\n")
            }
            None => format!("{line}\n"),
        })
        .collect();
    assert_eq!(names.len(), 4);
    let output = accepted(&readable, &url);
    assert_eq!(output.matches("environment = ").count(), 4);
    refused(&example, &url, &["service.toml", "/run/secrets/", "cannot be read"]);
}

#[test]
fn what_is_printed_is_a_configuration_again_once_its_secrets_are_filled_in() {
    let text = format!(
        "[server]\ntrusted_proxies = ['10.0.0.0/8', '2001:db8::/32']\nforwarded_header = 'x-forwarded-for'\n\
         body_grace_ms = 1\n[admin]\ntoken = 'hunter2-admin'\n[database]\nurl = '{URL}'\npassword = 'hunter2-database'\n\
         [spool]\ndirectory = \"/a \\\"b\\\" \\\\c\"\n[log]\nformat = 'text'\n\
         [providers.order_ticketed]\npath = '/x'\nunknown_booking = 'reject'\nallowed_networks = ['192.0.2.1']\n\
         [providers.order_ticketed.accounts.one]\nenvironment = 'live'\ncid = 'hunter2-one'\n\
         [providers.order_ticketed.accounts.two]\nenvironment = 'test'\ncid = 'hunter2-two'\n"
    );
    for url in [URL, "postgres:///ti%20ckets?host=/run/a%26b&user=agency%40x", "postgres://a%2Fb:hunter2@[::1]/c%3Fd"] {
        let printed = accepted(&text.replace(URL, url), &[]);
        let mut parts = printed.split("[redacted]");
        let first = parts.next().unwrap().to_owned();
        // accounts of a provider must have different credentials
        let filled = parts.enumerate().fold(first, |filled, (n, part)| format!("{filled}hunter2-{n}-filled-in{part}"));
        assert_ne!(filled, printed);
        assert_eq!(accepted(&filled, &[]), printed);
    }
}

#[test]
fn the_environment_stands_over_the_file() {
    let file = format!("[server]\npublic_address = '127.0.0.1:1'\nbody_limit_bytes = 10\n[database]\nurl = '{URL}'");
    let output = accepted(
        &file,
        &[
            ("TICKET_WEBHOOKS__SERVER__PUBLIC_ADDRESS", "[::1]:2"),
            ("TICKET_WEBHOOKS__SERVER__TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1"),
            ("TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__ACCOUNTS__LIVE__CID", "00123"),
            ("TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__ACCOUNTS__LIVE__ENVIRONMENT", "test"),
            ("PORT", "3"),
            ("DATABASE_URL", "postgres://other:hunter2@other.example/elsewhere"),
        ],
    );
    for line in [
        "public_address = \"[::1]:2\"",
        "body_limit_bytes = 10",
        "trusted_proxies = [\"10.0.0.0/8\", \"192.0.2.1/32\"]",
        "url = \"postgres://other:[redacted]@other.example:5432/elsewhere\"",
        "[providers.order_ticketed.accounts.live]",
        "environment = \"test\"",
        "cid = \"[redacted]\"",
    ] {
        assert!(output.lines().any(|found| found == line), "{line} is not in {output}");
    }
    assert!(accepted(&file, &[("PORT", "3")]).contains("public_address = \"127.0.0.1:3\""));
    let with_file = format!("{file}\n[admin]\ntoken_file = '/nowhere/at-all'");
    assert!(accepted(&with_file, &[("TICKET_WEBHOOKS__ADMIN__TOKEN", "hunter2"), ("PORT", "")]).contains("token = "));
    let own = [("DATABASE_URL", "postgres:///a"), ("TICKET_WEBHOOKS__DATABASE__URL", URL)];
    assert!(accepted(&file, &own).contains("@db.example:6432/tickets"));
}

#[test]
fn secrets_can_be_read_from_files_and_are_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    fs::write(&secret, "hunter2 \n").unwrap();
    let secret = secret.display().to_string();
    let file = with_account(&format!(
        "environment = 'live'\nclient_id = 10001\nuser_name = 'hunter2'\npassword_file = '{secret}'\n\
         [admin]\ntoken_file = '{secret}'"
    ));
    let output = accepted(&file, &[]);
    assert!(!output.contains("hunter2"), "{output}");
    assert_eq!(output.matches("[redacted]").count(), 5);

    let other = "[providers.booking_callback.accounts.two]\nenvironment = 'live'\nclient_id = '10001'\n\
                 user_name = 'hunter2'\npassword = 'hunter2 '\n";
    let equal = format!("{file}\n{other}");
    refused(&equal, &[], &["service.toml", "providers.booking_callback.accounts.two", "live"]);
}

#[test]
fn keys_that_are_unknown_are_refused() {
    let url = format!("[database]\nurl = '{URL}'\n");
    refused(&format!("{url}[server]\npublik_address = 'hunter2'"), &[], &["service.toml", "publik_address", "server"]);
    refused(&format!("{url}[servers]\na = 'hunter2'"), &[], &["service.toml", "servers", "expected"]);
    refused(&url, &[("TICKET_WEBHOOKS__SERVER__PORTT", "1")], &["portt", "server"]);
    refused(&format!("{url}[providers.acme]\npath = '/x'"), &[], &["service.toml", "providers.acme", "order_ticketed"]);
    let account = "environment = 'live'\nclient_id = '1'\nuser_name = 'u'\npassword = 'hunter2'\napi_key = 'hunter2'";
    refused(&with_account(account), &[], &["service.toml", "accounts.live.api_key", "client_id, user_name, password"]);
}

#[test]
fn accounts_must_be_whole() {
    let missing = "environment = 'live'\nclient_id = '1'\nuser_name = 'u'";
    let key = "providers.booking_callback.accounts.live.password";
    refused(&with_account(missing), &[], &["service.toml", key, "missing", "password_file"]);
    let empty = "environment = 'live'\nclient_id = '1'\nuser_name = 'u'\npassword = ''";
    refused(&with_account(empty), &[], &["service.toml", key, "not empty"]);
    let neither = "environment = 'prod'\nclient_id = '1'\nuser_name = 'u'\npassword = 'hunter2'";
    refused(&with_account(neither), &[], &["service.toml", "environment", "\"test\" or \"live\""]);
    let line_feed = "environment = 'live'\nclient_id = '1'\nuser_name = 'u'\npassword = \"hunter2\\n\"";
    refused(&with_account(line_feed), &[], &["service.toml", key, "one line"]);
    let none = "client_id = '1'\nuser_name = 'u'\npassword = 'hunter2'";
    refused(&with_account(none), &[], &["service.toml", "environment", "missing"]);
    let both = "environment = 'live'\nclient_id = '1'\nuser_name = 'u'\npassword = 'hunter2'\npassword_file = '/x'";
    refused(&with_account(both), &[], &["service.toml", "password_file", "not both"]);
    let table = format!("[database]\nurl = '{URL}'\n[providers.booking_callback.accounts]\nlive = 'hunter2'");
    refused(&table, &[], &["service.toml", "accounts.live"]);
    let variable = "TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__ACCOUNTS__A__ENVIRONMENT";
    let key = "providers.order_ticketed.accounts.a.cid";
    refused(&format!("[database]\nurl = '{URL}'"), &[(variable, "live")], &[key, "missing"]);
}

#[test]
fn values_that_cannot_be_right_are_refused() {
    let with = |section: &str| format!("[database]\nurl = '{URL}'\n{section}");
    for (section, named) in [
        ("[server]\npublic_address = 'localhost'", &["server.public_address", "0.0.0.0:8080"][..]),
        ("[server]\nbody_limit_bytes = 'many'", &["server.body_limit_bytes", "integer"]),
        ("[server]\nbody_limit_bytes = -1", &["server.body_limit_bytes", "integer"]),
        ("[server]\nbody_read_timeout_ms = 0", &["server.body_read_timeout_ms", "above 0"]),
        ("[server]\ntrusted_proxies = ['10.0.0.0/99']", &["server.trusted_proxies", "10.0.0.0/8"]),
        (
            "[server]\ntrusted_proxies = ['10.0.0.0/8', '0.0.0.0/0']",
            &["server.trusted_proxies", "any client can claim any address"],
        ),
        ("[server]\ntrusted_proxies = ['0.0.0.0/1', '128.0.0.0/1']", &["server.trusted_proxies", "IPv4 /8"]),
        ("[server]\ntrusted_proxies = ['::/1', '8000::/1']", &["server.trusted_proxies", "IPv6 /7"]),
        ("[server]\ntrusted_proxies = ['::ffff:0:0/97']", &["server.trusted_proxies", "IPv4 /8"]),
        ("[providers.order_ticketed.accounts.a]\nenvironment = 'live'\ncid = ' '", &["accounts.a.cid", "not empty"]),
        ("[server]\npublic_address = '1.1.1.1:1'\nadmin_address = '1.1.1.1:1'", &["server.admin_address", "another"]),
        ("[providers.order_ticketed]\npath = 'hooks'", &["providers.order_ticketed.path", "/webhooks/"]),
        ("[providers.order_ticketed]\npath = '/a/{b}'", &["providers.order_ticketed.path"]),
        ("[providers.order_ticketed]\npath = '/readyz'", &["providers.order_ticketed.path"]),
        ("[providers.order_ticketed]\npath = '/webhooks/booking-callback'", &["path", "booking_callback"]),
        ("[providers.order_ticketed]\nunknown_booking = 'hunter2'", &["unknown_booking", "\"accept\" or \"reject\""]),
        (
            "[providers.order_ticketed.accounts.'a.b']\ncid = 'hunter2'",
            &["providers.order_ticketed.accounts", "letters"],
        ),
        ("[providers.order_ticketed.accounts.\"a\\u0000\"]\ncid = 'hunter2'", &["order_ticketed.accounts", "letters"]),
        ("[providers.order_ticketed.accounts.'']\ncid = 'hunter2'", &["providers.order_ticketed.accounts", "letters"]),
        (
            "[providers.ticket_status_update.accounts.a]\nenvironment = 'live'\napi_key = ' hunter2'",
            &["providers.ticket_status_update.accounts.a.api_key", "white space"],
        ),
        ("[admin]\ntoken = ''", &["admin.token", "not empty"]),
    ] {
        let mut named = named.to_vec();
        named.push("service.toml");
        refused(&with(section), &[], &named);
    }
    let address = "TICKET_WEBHOOKS__SERVER__PUBLIC_ADDRESS";
    refused(&with(""), &[(address, "hunter2")], &[address, "server.public_address", "IP address"]);
    refused(&with(""), &[("PORT", "http")], &["PORT", "port number"]);
    for url in ["hunter2", "localhost:5432/hunter2", "mysql://u:hunter2@h/db", "postgres://u:12/hunter2@h/db"] {
        refused("", &[("DATABASE_URL", url)], &["DATABASE_URL", "postgres://"]);
    }
    let most = "TICKET_WEBHOOKS__DATABASE__MAX_CONNECTIONS";
    refused(&with(""), &[(most, "4294967295")], &[most, "database.max_connections", "from 10 to 10000"]);
    refused("", &[], &["database.url", "missing", "DATABASE_URL", "TICKET_WEBHOOKS__DATABASE__URL"]);
    refused("[database]\nurl_file = '/nowhere/hunter'", &[], &["service.toml", "database.url_file", "/nowhere/hunter"]);
}

#[test]
fn a_file_that_is_none_is_refused_without_showing_its_text() {
    refused("[admin]\ntoken = 'hunter2", &[], &["service.toml", "line 2"]);
    let (code, _, errors) = Command::new(&["check-config", "--config", "/nowhere/at-all.toml"]).run();
    assert_eq!(code, 2);
    assert!(errors.contains("/nowhere/at-all.toml: cannot be read"), "{errors}");
}
