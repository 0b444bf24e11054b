//! A Prometheus that the test starts, with the rules and queries of ops/.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::support::Service;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Times in the rules of ops/, and what replaces them in the test.
const SHORTENED: &[(&str, &str)] = &[
    ("for: 1m", "for: 1s"),
    ("for: 2m", "for: 1s"),
    ("for: 5m", "for: 1s"),
    ("[5m]", "[30s]"),
    ("[10m]", "[30s]"),
    ("[15m]", "[30s]"),
    ("> 21600", "> 4"),
    ("> 300", "> 4"),
    ("> 900", "> 3"),
    ("_seconds) > 60", "_seconds) > 2"),
];

pub struct Prometheus {
    process: Child,
    url: String,
    client: reqwest::Client,
    fired: RefCell<BTreeSet<String>>,
    _directory: TempDir,
}

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

impl Prometheus {
    /// Scrapes every second, evaluates the rules every half second.
    pub async fn start(services: &[&Service]) -> Self {
        let mut rules = file("ops/alerts.yml");
        for (long, short) in SHORTENED {
            assert!(rules.contains(long), "{long} is no longer in ops/alerts.yml");
            rules = rules.replace(long, short);
        }
        let targets: Vec<_> =
            services.iter().map(|service| format!("\"{}\"", service.admin.trim_start_matches("http://"))).collect();
        let configuration = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 500ms}}\n\
             rule_files: [alerts.yml]\n\
             scrape_configs: [{{job_name: ticket-webhooks, static_configs: [{{targets: [{}]}}]}}]\n",
            targets.join(", ")
        );
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("alerts.yml"), rules).unwrap();
        fs::write(directory.path().join("prometheus.yml"), configuration).unwrap();
        // a port that is free now
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new("prometheus")
            .current_dir(directory.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"])
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .spawn()
            .expect("Prometheus is installed");
        let (url, client) = (format!("http://{address}"), reqwest::Client::new());
        let prometheus = Self { process, url, client, fired: RefCell::default(), _directory: directory };
        let ready = format!("{}/-/ready", prometheus.url);
        let is_ready = async || prometheus.client.get(&ready).send().await.is_ok_and(|it| it.status().is_success());
        wait_for("Prometheus to be ready", is_ready).await;
        prometheus
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/{path}", self.url), query).unwrap();
        let answer: Value = self.client.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], "success", "{query:?}: {answer}");
        answer["data"].clone()
    }

    async fn query(&self, query: &str) -> Vec<Value> {
        self.get("query", &[("query", query)]).await["result"].as_array().unwrap().clone()
    }

    /// Waits until so many replicas are scraped.
    pub async fn scrapes(&self, replicas: usize) {
        let all_up = async || self.query("up == 1").await.len() == replicas;
        wait_for("all replicas to be scraped", all_up).await;
    }

    /// Waits for so many more evaluations of the rules.
    pub async fn evaluates(&self, times: usize) {
        let mut last = Value::Null;
        for _ in 0..=times {
            let evaluated = async || self.get("rules", &[]).await["groups"][0]["lastEvaluation"].clone();
            wait_for("the rules to be evaluated", async || evaluated().await != last).await;
            last = evaluated().await;
        }
    }

    /// Names of the alerts that fire now.
    pub async fn firing(&self) -> BTreeSet<String> {
        let firing = self.query(r#"ALERTS{alertstate="firing"}"#).await;
        firing.iter().map(|alert| alert["metric"]["alertname"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until an alert fires and checks that it has a runbook. Its summary.
    pub async fn fires(&self, name: &str) -> String {
        wait_for(name, async || self.firing().await.contains(name)).await;
        let alerts = self.get("alerts", &[]).await;
        let alert = alerts["alerts"].as_array().unwrap().iter().find(|alert| alert["labels"]["alertname"] == name);
        let annotations = &alert.expect("it fires")["annotations"];
        let summary = annotations["summary"].as_str().unwrap().to_owned();
        println!("{name}: {summary}");
        assert!(!annotations["runbook"].as_str().unwrap().is_empty());
        self.fired.borrow_mut().insert(name.to_owned());
        summary
    }

    /// Names of the alerts that have fired.
    pub fn fired(&self) -> BTreeSet<String> {
        self.fired.borrow().clone()
    }

    /// Names of all alerts.
    pub async fn rules(&self) -> BTreeSet<String> {
        let groups = self.get("rules", &[]).await;
        let rules = groups["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
        rules.map(|rule| rule["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Runs every query of the dashboard; each must return a number.
    pub async fn every_panel_shows_something(&self) {
        let dashboard: Value = serde_json::from_str(&file("ops/grafana-dashboard.json")).unwrap();
        let here = |query: &Value| query.as_str().unwrap().replace("$instance", ".*").replace("$__rate_interval", "5m");
        let mut queries = 0;
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let query = here(&target["expr"]);
                let series = self.query(&query).await;
                let is_a_number = |series: &Value| series["value"][1].as_str().unwrap() != "NaN";
                assert!(series.iter().any(is_a_number), "{}: {query} shows nothing: {series:?}", panel["title"]);
                queries += 1;
            }
        }
        for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
            self.query(&here(&annotation["expr"])).await;
        }
        println!("the dashboard's {queries} queries have answers");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn wait_for(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so().await {
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        sleep(Duration::from_millis(100)).await;
    }
}
