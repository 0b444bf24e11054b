//! Authentication takes the same time whichever account or byte is wrong.
//!
//! The method is that of dudect: the two classes are measured in turns in a random order, the slower half of all (the
//! scheduler, interrupts) is left out, and Welch's t-test asks whether the means differ. A difference that is there shows
//! in every attempt; one that is not, in hardly any. Each check has a counterpart that leaks, on which it must fail.

use std::{borrow::Cow, hint::black_box, time::Instant};

use secrecy::SecretString;
use ticket_webhooks::{
    credentials::{Account, Accounts},
    ticket_event::Environment,
};

const SAMPLES: usize = 500;
/// Calls in a sample: a clock's tick is about as long as one comparison.
const CALLS: usize = 4;
const ATTEMPTS: usize = 10;
/// dudect's bound for "not the same".
const BOUND: f64 = 4.5;

const SECRET: &str = "kQ7-vX2_mR9.tB4-zW8_pL3.nH6-cJ5_fD1.sG0a";

/// Whether a function always takes longer, or always takes less, for the one input than for the other.
fn differ(function: &dyn Fn(&str) -> bool, one: &str, other: &str) -> bool {
    assert_eq!(one.len(), other.len());
    (0..ATTEMPTS).all(|_| welch(function, [one, other]).abs() > BOUND)
}

fn welch(function: &dyn Fn(&str) -> bool, inputs: [&str; 2]) -> f64 {
    // one place in memory for both, so that its alignment is no difference
    let mut input = String::with_capacity(inputs[0].len());
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    let mut samples: Vec<(usize, f64)> = Vec::new();
    while samples.len() < 2 * SAMPLES {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        let class = usize::from(chance & 1 == 1);
        input.clear();
        input.push_str(inputs[class]);
        let since = Instant::now();
        for _ in 0..CALLS {
            black_box(function(black_box(&input)));
        }
        samples.push((class, since.elapsed().as_nanos() as f64));
    }
    samples.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    samples.truncate(SAMPLES);
    let [(mean, error), (other_mean, other_error)] = [0, 1].map(|class| {
        let times: Vec<f64> = samples.iter().filter(|(of, _)| *of == class).map(|(_, time)| *time).collect();
        let count = times.len().max(2) as f64;
        let mean = times.iter().sum::<f64>() / count;
        let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    // where all of the faster half are of one class, there is no mean of the other to compare with
    let faster = samples.iter().filter(|(class, _)| *class == 0).count() as f64;
    let excess = (2.0 * faster - SAMPLES as f64) / (SAMPLES as f64).sqrt();
    let difference = (mean - other_mean) / (error + other_error).sqrt().max(f64::MIN_POSITIVE);
    if excess.abs() > difference.abs() { excess } else { difference }
}

fn accounts(secrets: &[String]) -> Accounts {
    let account = |secret: &String| Account::new("a", Environment::Live, [&SecretString::from(secret.clone())]);
    Accounts::new(secrets.iter().map(account).collect())
}

fn is_verified(accounts: &Accounts, presented: &str) -> bool {
    accounts.verify(Ok(vec![Cow::Borrowed(presented)])).is_ok()
}

/// The secret with one byte changed.
fn wrong_at(position: usize) -> String {
    let mut wrong = SECRET.to_owned().into_bytes();
    wrong[position] ^= 1;
    String::from_utf8(wrong).unwrap()
}

#[test]
fn a_change_of_any_byte_makes_no_difference() {
    let accounts = accounts(&[SECRET.to_owned()]);
    let verify = |presented: &str| is_verified(&accounts, presented);
    assert!(verify(SECRET) && !verify(&wrong_at(0)));
    assert!(!differ(&verify, SECRET, &wrong_at(0)));
    for position in 1..SECRET.len() {
        assert!(!differ(&verify, &wrong_at(0), &wrong_at(position)), "{position}");
    }
    // what would have been found
    let leaks = |presented: &str| SECRET.bytes().zip(presented.bytes()).all(|(right, byte)| right == byte);
    assert!(differ(&leaks, &wrong_at(0), &wrong_at(SECRET.len() - 1)));
}

#[test]
fn neither_the_place_of_an_account_nor_its_absence_makes_a_difference() {
    let secrets: Vec<String> = (0..32).map(|n| format!("{SECRET}-{n:02}")).collect();
    let accounts = accounts(&secrets);
    let verify = |presented: &str| is_verified(&accounts, presented);
    let (first, last, none) = (&secrets[0], &secrets[31], format!("{SECRET}-99"));
    assert!(verify(first) && verify(last) && !verify(&none));
    assert!(!differ(&verify, first, last));
    assert!(!differ(&verify, first, &secrets[15]));
    assert!(!differ(&verify, first, &none));
    // what would have been found
    let leaks = |presented: &str| secrets.iter().any(|secret| secret == presented);
    assert!(differ(&leaks, first, last));
}

#[test]
fn a_name_that_is_known_makes_no_difference() {
    let parts = |name: &'static str, password: &'static str| [name, password].map(SecretString::from);
    let accounts = Accounts::new(vec![Account::new("a", Environment::Live, &parts("agency-api", SECRET))]);
    let verify = |presented: &str| {
        let (name, password) = presented.split_at(10);
        accounts.verify(Ok(vec![Cow::Borrowed(name), Cow::Borrowed(password)])).is_ok()
    };
    assert!(verify(&format!("agency-api{SECRET}")));
    assert!(!differ(&verify, &format!("agency-api{}", wrong_at(5)), &format!("nobody-api{}", wrong_at(5))));
    assert!(!differ(&verify, &format!("agency-api{}", wrong_at(5)), &format!("nobody-api{SECRET}")));
}
