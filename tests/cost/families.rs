//! Families of hostile bodies, each with parameters for the search to vary.

use super::{
    chance::Chance,
    gzip::{self, Bits},
};

/// The default of `server.body_limit_bytes`.
pub const LIMIT: usize = 256 * 1024;

/// Parameters of a family, each from 0 to 1.
pub const PARAMETERS: usize = 4;

pub type Parameters = [f64; PARAMETERS];

/// A family: its name, and the body for its parameters.
pub type Family = (&'static str, fn(&Parameters) -> Vec<u8>);

pub const FAMILIES: &[Family] = &[
    ("gzip: empty fixed blocks", |p| gzip::member(gzip::empty_fixed(1 + upto(p[0], 209_000)), b"")),
    ("gzip: stored blocks", |p| {
        let each = upto(p[0], 40);
        let blocks = (LIMIT - 64) / (each + 5);
        gzip::member(gzip::stored(blocks, each), &vec![b' '; blocks * each])
    }),
    ("gzip: tables", |p| {
        let (longest, distances) = (1 + upto(p[0], 14) as u32, upto(p[1], 15) as u32);
        let literals = upto(p[2], 300);
        let whole = gzip::member(gzip::dynamic(100, longest, distances, literals), b"").len();
        let blocks = upto(p[3], (LIMIT - 64) * 100 / whole).min(LIMIT / literals.max(1));
        gzip::member(gzip::dynamic(blocks, longest, distances, literals), &vec![b' '; blocks * literals])
    }),
    ("gzip: members", |p| {
        let bytes = vec![b' '; upto(p[0], 2000)];
        let mut bits = Bits::default();
        if !bytes.is_empty() {
            bits = gzip::stored(1, bytes.len());
        }
        let member = gzip::member(bits, &bytes);
        member.repeat((LIMIT / member.len()).min(LIMIT / bytes.len().max(1)))
    }),
    ("gzip: a long head", |p| {
        let mut head = vec![0x1f, 0x8b, 8, 0b1_1000, 0, 0, 0, 0, 0, 255];
        head.resize(10 + upto(p[0], LIMIT - 10), b'n');
        head
    }),
    ("gzip: of another family", |p| {
        let of = &FAMILIES[FIRST_JSON + upto(p[0], FAMILIES.len() - FIRST_JSON - 1)];
        gzip::compressed(&(of.1)(&[p[1], p[2], p[3], p[1]]))
    }),
    // the families before this one are not JSON
    ("deep", |p| {
        let depth = 1 + upto(p[0], 140);
        let one = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        list(p, &one)
    }),
    ("empty containers", |p| list(p, if p[0] < 0.5 { "[]" } else { "{}" })),
    ("digits", |p| list(p, &"9".repeat(1 + upto(p[0].powi(3), 100_000)))),
    ("exponents", |p| list(p, &format!("1e{}", "9".repeat(1 + upto(p[0].powi(3), 10_000))))),
    ("many keys", |p| {
        let mut chance = Chance::new(p[3]);
        let (length, different) = (upto(p[0].powi(2), 60), 1 + upto(p[1], 60_000));
        object(p, |_| format!("{}{:0length$}", credential_or(p[2], "k"), chance.below(different)), "1")
    }),
    ("credentials again and again", |p| {
        let value = ["1", "\"x\"", "{}", "\"\\u0000\"", "[[]]"][upto(p[0], 4)];
        let keys = KEYS;
        object(p, |n| keys[(n + upto(p[1], 5)) % keys.len()].to_owned(), value)
    }),
    ("credentials as containers", |p| {
        let inner = "[0],".repeat(upto(p[0], 40));
        object(p, |n| KEYS[n % KEYS.len()].to_owned(), &format!("[{inner}0]"))
    }),
    ("escaped keys", |p| {
        let escape = ESCAPES[upto(p[0], ESCAPES.len() - 1)];
        let key = escape.repeat(1 + upto(p[1].powi(2), 300));
        object(p, |n| if p[2] < 0.5 { key.clone() } else { format!("{key}{n}") }, "1")
    }),
    ("escaped strings", |p| {
        let escape = ESCAPES[upto(p[0], ESCAPES.len() - 1)];
        list(p, &format!("\"{}\"", escape.repeat(1 + upto(p[1].powi(2), 20_000))))
    }),
    ("towers of backslashes", |p| {
        let tower = "\\".repeat(2 * (1 + upto(p[0].powi(2), 60_000)));
        broken(p, list(p, &format!("\"{tower}\"")))
    }),
    ("strings of JSON of strings", |p| {
        let mut text =
            ["{}", "{\"cid\":1}", "[\"\\u0000\"]", "\"\""][upto(p[0], 3)].repeat(1 + upto(p[1].powi(2), 3000));
        loop {
            let outer = serde_json::to_string(&text).unwrap();
            if outer.len() > LIMIT {
                return broken(p, text.into_bytes());
            }
            text = outer;
        }
    }),
    ("containers as strings", |p| {
        let inner = ["[]", "{}", "[1,2]", "{\\\"data\\\":\\\"[]\\\"}", "[[[[["][upto(p[0], 4)];
        object(p, |n| CONTAINERS[n % CONTAINERS.len()].to_owned(), &format!("\"{inner}\""))
    }),
    ("one container as a string", |p| {
        let of = &FAMILIES[FIRST_JSON + upto(p[0], 8)];
        let inner = String::from_utf8((of.1)(&[p[1], p[2], p[3], 0.45])).unwrap();
        let outer = serde_json::json!({"data": inner, "TicketInfoes": "[]"});
        cut(outer.to_string().into_bytes())
    }),
    ("quotes", |p| {
        let one = ["\"", "'", "\":", "\"'", "\\\"", "\"\":"][upto(p[0], 5)];
        broken(p, fill(&format!("{one}{}", " ".repeat(upto(p[1].powi(3), 200)))))
    }),
    ("quoted names", |p| {
        let name = "n".repeat(upto(p[0], 130));
        let quote = if p[1] < 0.5 { '"' } else { '\'' };
        let value = ["1,", "", "\"x\",", "{", "[", "\\\"", "'"][upto(p[3], 6)];
        broken(p, fill(&format!("{quote}{name}{quote}:{value}")))
    }),
    ("names of credentials in broken text", |p| {
        let name = KEYS[upto(p[0], KEYS.len() - 1)];
        let name = if p[1] < 0.3 { name.replace('i', "\\u0069") } else { name.to_owned() };
        let value = ["1,", "{", "\"", "\"x\"", "[", "\\", ""][upto(p[3], 6)];
        broken(p, fill(&format!("\"{name}\"{}:{value}", " ".repeat(upto(p[2].powi(3), 200)))))
    }),
    ("escapes in broken text", |p| {
        let escape = ESCAPES[upto(p[0], ESCAPES.len() - 1)];
        let length = 1 + upto(p[1].powi(2), 20_000);
        broken(p, fill(&format!("\"{}\":", escape.repeat(length))))
    }),
    ("members in one string", |p| {
        let key = KEYS[upto(p[0], 3)];
        let (outer, inner) = (upto(p[1], 5), upto(p[2], 4));
        let unit =
            ["\\\"K\\\":1", "{\\\"K\\\":\\\"x\\\",", "\\\"K\\\":\\\"x\\\",", "[\\\"K\\\":", "{\\\"K\\\":"][inner];
        let unit = unit.replace('K', key);
        let (start, end) = [("\"", "\""), ("\"", ""), ("{\"data\":\"", "\"}")][outer % 3];
        let count = (LIMIT - start.len() - end.len() - 1) / unit.len();
        let mut body = format!("{start}{}{end}", unit.repeat(count)).into_bytes();
        // not UTF-8: it is read as Windows-1252, and a string with it is longer
        if outer >= 3 {
            body.insert(body.len() - end.len(), 0x80);
        }
        if p[3] < 0.5 { body } else { gzip::compressed(&body) }
    }),
    ("UTF-16", |p| {
        let of = &FAMILIES[FIRST_JSON + upto(p[0], FAMILIES.len() - FIRST_JSON - 6)];
        let text = String::from_utf8_lossy(&(of.1)(&[p[1], p[2], p[3], p[1]])).into_owned();
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        cut(units.flat_map(u16::to_le_bytes).collect())
    }),
    ("letters of UTF-16", |p| {
        let unit = [0x20ac_u16, 0xd800, 0xdc00, 0x00e9, 0xfffd, 0x0022][upto(p[0], 5)];
        let other = [0x20ac_u16, 0xd800, 0xdc00, 0x00e9, 0x003a, 0x0022][upto(p[1], 5)];
        cut(std::iter::once(0xfeff).chain([unit, other].repeat(LIMIT / 4)).flat_map(u16::to_le_bytes).collect())
    }),
    ("Windows-1252", |p| {
        let letter = [0xfc, 0x80, 0x81, 0xff][upto(p[0], 3)];
        let every = 1 + upto(p[1], 20);
        (0..LIMIT).map(|n| if n % every == 0 { letter } else { [b'"', b':', b' '][n % 3] }).collect()
    }),
    ("broken UTF-8", |p| {
        let one: [&[u8]; 5] = [b"\xc3\xa9\xff", b"\xe2\x82", b"\xf0\x9f\x98", b"\xc3\xa9\"\xff\":", b"\xff"];
        let mut body = b"\xc3\xa9".to_vec();
        body.extend_from_slice(&one[upto(p[0], 4)].repeat(LIMIT / 6));
        cut(body)
    }),
    ("NUL", |p| list(p, &format!("\"{}\"", "\\u0000a".repeat(1 + upto(p[0].powi(2), 5000))))),
    ("lists in objects with numbers", |p| {
        let list = object(&[p[0], p[1], p[2], 0.0], |n| n.to_string(), ["1", "{}", "\"x\"", "null"][upto(p[0], 3)]);
        let list = String::from_utf8(list).unwrap();
        cut(format!("{{\"data\":{{\"paxTicketInfos\":{list}}},\"Passengers\":{list}}}").into_bytes())
    }),
    ("blanks", |p| fill([" ", "\n", "{", "[", ",", ":", "\\", "\\\\\""][upto(p[0], 7)])),
];

/// Index of the first family of uncompressed JSON.
const FIRST_JSON: usize = 6;

const KEYS: &[&str] = &["cid", "ClientId", "UserName", "Password", "CID", " cid "];

const CONTAINERS: &[&str] = &["data", "paxTicketInfos", "ticketNos", "airlinePNRs", "Passengers", "TicketInfoes"];

const ESCAPES: &[&str] =
    &["\\u0000", "\\ud800", "\\ud83d\\ude00", "\\\\", "\\\"", "\\n", "\\/", "\\u00e9", "\\\\\\\"", "\\u005c", "a\\n"];

/// A number from 0 to `most`.
fn upto(parameter: f64, most: usize) -> usize {
    ((parameter * (most + 1) as f64) as usize).min(most)
}

fn cut(mut body: Vec<u8>) -> Vec<u8> {
    body.truncate(LIMIT);
    body
}

fn fill(one: &str) -> Vec<u8> {
    cut(one.repeat(LIMIT / one.len() + 1).into_bytes())
}

/// Makes half of the bodies invalid JSON, or too short.
fn broken(p: &Parameters, mut body: Vec<u8>) -> Vec<u8> {
    if p[2] > 0.5 {
        body.truncate(LIMIT - 1);
        body.push(b',');
    }
    body
}

fn credential_or(parameter: f64, other: &str) -> &str {
    if parameter < 0.3 { KEYS[upto(parameter * 3.3, KEYS.len() - 1)] } else { other }
}

/// A list, in a member, filled with one value up to the limit.
fn list(p: &Parameters, one: &str) -> Vec<u8> {
    let (start, end) = [("[", "]"), ("{\"data\":[", "]}"), ("{\"Passengers\":[", "]}")][upto(p[3], 2)];
    let count = ((LIMIT - start.len() - end.len()) / (one.len() + 1)).max(1);
    format!("{start}{}{end}", vec![one; count].join(",")).into_bytes()
}

/// An object filled with members up to the limit.
fn object(p: &Parameters, mut key: impl FnMut(usize) -> String, value: &str) -> Vec<u8> {
    let (start, end) = [("{", "}"), ("{\"data\":{", "}}"), ("[{", "}]")][upto(p[3], 2)];
    let mut text = start.to_owned();
    for n in 0.. {
        let member = format!("\"{}\":{value}", key(n));
        if text.len() + member.len() + 1 + end.len() > LIMIT {
            break;
        }
        if n > 0 {
            text.push(',');
        }
        text.push_str(&member);
    }
    (text + end).into_bytes()
}
