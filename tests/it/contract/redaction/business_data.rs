//! What bookings are compared, found and shown by is never altered because a part of it looks like a secret.

use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use ticket_webhooks::{
    credentials::{Account, Accounts},
    delivery::Delivery,
    providers::{self, PROVIDERS},
    receive::{Arrival, CollectedBody, interpret},
    redaction::Redactor,
    ticket_event::{Booking, Environment},
};
use time::macros::datetime;
use tokio::task::spawn_blocking;

use crate::support::{Command, Database, Service, provider, settings};

const CALLBACK: &str = "TICKET_WEBHOOKS__PROVIDERS__BOOKING_CALLBACK__ACCOUNTS__COMMON";
const ORDER: &str = "TICKET_WEBHOOKS__PROVIDERS__ORDER_TICKETED__ACCOUNTS__COMMON";

/// Accounts whose credentials look like data.
fn accounts() -> Vec<(String, String)> {
    [
        (CALLBACK, "ENVIRONMENT", "live"),
        (CALLBACK, "CLIENT_ID", "12345"),
        (CALLBACK, "USER_NAME", "Kumar"),
        (CALLBACK, "PASSWORD", "123456"),
        (ORDER, "ENVIRONMENT", "live"),
        (ORDER, "CID", "K3YP4RT9Z8Y7"),
    ]
    .map(|(account, key, value)| (format!("{account}__{key}"), value.to_owned()))
    .into()
}

fn callback() -> Value {
    json!({
        "ClientId": 12345, "UserName": "Kumar", "Password": "123456", "EndUserIp": "203.0.113.7", "TraceId": "123456",
        "BookingId": "123456", "PNR": "123456", "GdsPNR": "Kumar", "Status": "Success", "Remark": "for Kumar 123456",
        "Passengers": [
            {"Title": "Mr", "FirstName": "Kumar", "LastName": "Kumar", "TicketNumber": "098-2412345678"},
            {"Title": "Mr", "FirstName": "12345", "LastName": "123456", "TicketNumber": "K3YP4RT9Z8Y7"}
        ]
    })
}

async fn serve(database: &Database) -> Service {
    let accounts = accounts();
    let variables: Vec<_> = accounts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Service::start(database, &variables).await
}

#[tokio::test]
async fn credentials_that_look_like_data_alter_nothing_but_their_members() {
    let database = Database::new().await;
    let service = serve(&database).await;
    assert_eq!(service.post(provider("booking_callback"), callback().to_string()).await.status, 200);
    let event = database.events().await.pop().unwrap();
    assert_eq!(event["booking_ref"], "123456");
    assert_eq!((&event["pnr"], &event["gds_pnr"]), (&json!("123456"), &json!("KUMAR")));
    assert_eq!((&event["remark"], &event["trace_id"]), (&json!("for Kumar 123456"), &json!("123456")));
    assert_eq!(event["ticket_numbers"], json!(["0982412345678", "K3YP4RT9Z8Y7"]));
    assert_eq!(event["passengers"][0]["first_name"], "Kumar");
    // the secret that is looked for is a ticket number here, and only what is kept as it was sent loses it
    assert_eq!(event["warnings"], json!(["Passengers[1].TicketNumber held a secret, which was replaced"]));
    assert_eq!(event["payload"]["Passengers"][1]["TicketNumber"], "[redacted]");
    assert_eq!(event["payload"]["Passengers"][0], callback()["Passengers"][0]);
    assert_eq!(event["payload"]["Remark"], "for Kumar 123456");
    for member in ["ClientId", "UserName", "Password"] {
        assert_eq!(event["payload"].get(member), None);
    }
}

#[tokio::test]
async fn what_normalizing_puts_together_is_business_data_and_stays() {
    let database = Database::new().await;
    let service = serve(&database).await;
    let mut delivery = (provider("order_ticketed").delivery)("main", "K3YP4RT9Z8Y7");
    delivery["data"]["paxTicketInfos"][0]["ticketNos"] = json!(["K3YP-4RT9 Z8Y7", "xK3YP4RT9Z8Y7"]);
    assert_eq!(service.post(provider("order_ticketed"), delivery.to_string()).await.status, 200);
    let event = database.events().await.pop().unwrap();
    assert_eq!(event["booking_ref"], "K3YP4RT9Z8Y7");
    assert_eq!(event["ticket_numbers"], json!(["K3YP4RT9Z8Y7", "XK3YP4RT9Z8Y7"]));
    assert_eq!(event["payload"]["data"]["orderNo"], "[redacted]");
    let numbers = &event["payload"]["data"]["paxTicketInfos"][0]["ticketNos"];
    assert_eq!(numbers, &json!(["K3YP-4RT9 Z8Y7", "xK3YP4RT9Z8Y7"]));
    assert_eq!(event["warnings"], json!(["data.orderNo held a secret, which was replaced"]));
    // and it is the same booking the next time
    assert_eq!(service.post(provider("order_ticketed"), delivery.to_string()).await.status, 200);
    assert_eq!(database.events().await.len(), 1);
}

#[tokio::test]
async fn business_data_is_not_altered_in_the_spool() {
    let database = Database::new().await;
    let spool = TempDir::new().unwrap();
    let spool_text = spool.path().display().to_string();
    let mut accounts = accounts();
    accounts.push(("TICKET_WEBHOOKS__SPOOL__DIRECTORY".to_owned(), spool_text));
    let variables: Vec<_> = accounts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let service = Service::start(&database, &variables).await;
    database.execute("alter table ticket_events rename to away").await;
    let mut delivery = callback();
    delivery["BookingId"] = json!("K3YP4RT9Z8Y7");
    delivery["Remark"] = json!("by K3YP4RT9Z8Y7");
    let windows_1252 = |text: String| text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect::<Vec<_>>();
    let mut encoded = callback();
    encoded["BookingId"] = json!("B2");
    encoded["Passengers"][0]["LastName"] = json!("Müller");
    for body in [delivery.to_string().into_bytes(), windows_1252(encoded.to_string())] {
        assert_eq!(service.post(provider("booking_callback"), body).await.status, 200);
    }
    let file = std::fs::read(spool.path().join("deliveries.redb")).unwrap();
    let holds = |text: &str| file.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(holds("[redacted]") && !holds("by K3YP4RT9Z8Y7") && !holds("Password"));
    database.execute("alter table away rename to ticket_events").await;
    let service = spawn_blocking(move || {
        service.process.line("the spool is empty again");
        service
    });
    let _service = service.await.unwrap();
    let events = database.rows("select * from ticket_events order by booking_ref desc").await;
    assert_eq!((&events[0]["booking_ref"], &events[0]["remark"]), (&json!("K3YP4RT9Z8Y7"), &json!("by [redacted]")));
    assert_eq!(events[0]["ticket_numbers"], json!(["0982412345678", "K3YP4RT9Z8Y7"]));
    assert_eq!(events[0]["warnings"].as_array().unwrap().len(), 3);
    assert_eq!(events[1]["passengers"][0]["last_name"], "Müller");
    assert_eq!(events[1]["warnings"][0], "the body was read as windows-1252");
}

#[tokio::test]
async fn accounts_whose_secrets_could_be_data_are_named_and_their_secrets_are_not() {
    let database = Database::new().await;
    let mut variables = settings(&database.url());
    variables.extend(accounts());
    variables.push(("TICKET_WEBHOOKS__ADMIN__TOKEN".to_owned(), "7-chars".to_owned()));
    let named = ["admin.token", "providers.booking_callback.accounts.common.password"];
    let command = Command::new(&["check-config"]).envs(&variables);
    let (code, printed, _) = spawn_blocking(move || command.run()).await.unwrap();
    assert_eq!(code, 0);
    let says = "has only digits or fewer than eight characters";
    let lines: Vec<_> = printed.lines().filter(|line| line.contains(says)).collect();
    assert_eq!(lines.len(), 2, "{printed}");
    assert!(lines.iter().zip(named).all(|(line, key)| line.contains(key)), "{lines:?}");
    let command = Command::new(&["serve"]).envs(&variables);
    let service = spawn_blocking(move || Service::over(command.start())).await.unwrap();
    let log = service.stop().await;
    for text in [printed, log] {
        assert!(named.iter().all(|key| text.contains(key)), "{text}");
        assert!(!text.contains("123456\"") && !text.contains("7-chars"), "{text}");
    }
}

/// Random numbers, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// Passwords that people and providers choose.
const COMMON: [&str; 12] = [
    "123456",
    "password",
    "12345678",
    "qwerty",
    "iloveyou",
    "princess",
    "sunshine",
    "football1",
    "Passw0rd",
    "abc12345",
    "1q2w3e4r",
    "superman",
];

/// What a booking says under accounts with this secret.
fn booking(provider: &str, secret: &str, body: &Value, members: &[(&str, &str)]) -> Booking {
    let provider = providers::by_name(provider).unwrap();
    let credentials: Vec<SecretString> = members.iter().map(|(_, value)| (*value).into()).collect();
    let accounts = Accounts::new(vec![Account::new("main", Environment::Live, &credentials)]);
    let presented = members.iter().map(|(_, value)| (*value).into()).collect();
    let proof_in_headers = provider.authenticates_by_header().then(|| accounts.verify(Ok(presented)).unwrap());
    let mut body = body.clone();
    for (member, value) in members {
        body[*member] = json!(value);
    }
    let admitted = interpret(&Arrival {
        provider,
        accounts: &accounts,
        proof_in_headers,
        body: &CollectedBody::unmetered(body.to_string()),
        is_encoding_supported: true,
        body_limit_bytes: 1 << 18,
        received_at: datetime!(2026-07-31 12:00 UTC),
        redactor: &Redactor::new([secret.into()]),
        dropped_members: &[],
    });
    let Ok(admitted) = admitted else { panic!("{body} is not admitted") };
    let Delivery::Event(event) = admitted.delivery else { panic!("{body} is {:?}", admitted.reply) };
    event.booking
}

/// A value in which something stands that could be a secret.
fn value(chance: &mut Chance) -> String {
    let word = chance.one_of(&COMMON).to_owned();
    match chance.below(6) {
        0 => word,
        1 => format!("{}-{word}", 100 + chance.below(900)),
        2 => format!("{word} {}", chance.one_of(&["SMITH", "Kumar", "4711"])),
        3 => word.to_uppercase(),
        4 => format!("{:013}", chance.0 % 10_000_000_000_000),
        _ => format!("{}/{word}", chance.one_of(&["zhang", "LEE"])),
    }
}

#[test]
fn of_a_hundred_thousand_deliveries_no_normalized_field_depends_on_the_secrets() {
    const DELIVERIES: usize = 100_000;
    let threads: Vec<_> = (0..2_u64)
        .map(|seed| {
            std::thread::spawn(move || {
                let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ (seed + 1));
                for n in 0..DELIVERIES / 2 {
                    let secret = chance.one_of(&COMMON);
                    let name = PROVIDERS[n % 3].name();
                    let (body, common, others) = invented(&mut chance, name, secret);
                    let mut with_common = booking(name, secret, &body, &common);
                    let mut with_others = booking(name, "another-Secret-5", &body, &others);
                    // that something was replaced in what is kept is all that may differ
                    for booking in [&mut with_common, &mut with_others] {
                        booking.warnings.retain(|warning| !warning.ends_with("held a secret, which was replaced"));
                    }
                    assert_eq!(with_common, with_others, "{secret} {body}");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

type Members = Vec<(&'static str, &'static str)>;

/// A delivery, and the credentials of two accounts that could have sent it.
fn invented(chance: &mut Chance, provider: &str, secret: &'static str) -> (Value, Members, Members) {
    let mut value = || json!(value(chance));
    match provider {
        "ticket_status_update" => (
            json!({
                "BookingTransactionRef": value(), "PNR": value(), "AirlinesPNR": value(), "BookingRefNumber": value(),
                "TicketInfoes": [{
                    "PassengerInfo": {"NameElement": {
                        "FirstName": value(), "LastName": value(), "DocumentNumber": value()
                    }},
                    "TicketNumbers": [value(), "157-1234567890"]
                }]
            }),
            vec![("api_key", secret)],
            vec![("x", "another-Secret-5")],
        ),
        "booking_callback" => (
            json!({
                "EndUserIp": "203.0.113.7", "TraceId": "t1", "BookingId": value(), "PNR": value(), "GdsPNR": value(),
                "Status": "Success", "Remark": "Ticketed",
                "Passengers": [{"Title": "Mr", "FirstName": value(), "LastName": value(), "TicketNumber": value()}]
            }),
            vec![("ClientId", "12345"), ("UserName", "Kumar"), ("Password", secret)],
            vec![("ClientId", "1"), ("UserName", "u"), ("Password", "another-Secret-5")],
        ),
        _ => (
            json!({
                "type": "order.ticketed", "status": -1,
                "data": {"orderNo": value(), "orderStatus": 2, "paxTicketInfos": [{
                    "name": value(), "cardNum": value(), "cardType": "PP", "cardIssuePlace": "CN", "gender": "F",
                    "nationality": "CN", "birthday": "19920202", "cardExpired": "20400101", "passengerType": 0,
                    "airlinePNRs": [value()], "ancillaries": [], "ticketNos": [value(), value()]
                }]}
            }),
            vec![("cid", secret)],
            vec![("cid", "another-Secret-5")],
        ),
    }
}
