//! Parses what Prometheus scrapes.

use std::collections::BTreeMap;

use crate::support::Service;

#[derive(Debug)]
pub struct Scrape {
    pub help: BTreeMap<String, String>,
    pub kinds: BTreeMap<String, String>,
    pub series: Vec<Series>,
}

#[derive(Debug)]
pub struct Series {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Scrape {
    pub async fn of(service: &Service) -> Self {
        let response = reqwest::get(format!("{}/metrics", service.admin)).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        Self::read(&response.text().await.unwrap())
    }

    /// Scrapes until the condition holds.
    pub async fn until(service: &Service, condition: impl Fn(&Self) -> bool) -> Self {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let scrape = Self::of(service).await;
            if condition(&scrape) {
                return scrape;
            }
            assert!(std::time::Instant::now() < deadline, "the condition never held: {scrape:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    fn read(text: &str) -> Self {
        let mut scrape = Self { help: BTreeMap::new(), kinds: BTreeMap::new(), series: Vec::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            let words: Vec<_> = line.splitn(4, ' ').collect();
            match words.as_slice() {
                ["#", "HELP", name, help] => drop(scrape.help.insert((*name).to_owned(), (*help).to_owned())),
                ["#", "TYPE", name, kind] => drop(scrape.kinds.insert((*name).to_owned(), (*kind).to_owned())),
                _ => scrape.series.push(series(line)),
            }
        }
        scrape
    }

    /// The sum of all series with this name and these labels. There must be one.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let matches = |series: &&Series| {
            series.name == name
                && labels.iter().all(|(key, value)| series.labels.get(*key).is_some_and(|found| found == value))
        };
        let mut found = self.series.iter().filter(matches).peekable();
        assert!(found.peek().is_some(), "no {name} with {labels:?}");
        found.map(|series| series.value).sum()
    }
}

fn series(line: &str) -> Series {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
    let labels = labels.map(|label| {
        let (key, value) = label.split_once('=').unwrap();
        (key.to_owned(), value.trim_matches('"').to_owned())
    });
    Series { name: name.to_owned(), labels: labels.collect(), value: value.parse().unwrap() }
}
