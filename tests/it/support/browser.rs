//! A real browser (Debian's chromium and chromium-driver; `make test` installs them) at the console.

use std::{
    io::{BufRead, BufReader},
    process::{self, Child, Stdio},
    time::{Duration, Instant},
};

use fantoccini::{Client, ClientBuilder, Locator, error::CmdError, wd::WebDriverCompatibleCommand};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::spawn_blocking,
};

use super::ADMIN_TOKEN;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Each takes some 300 MB.
static BROWSERS: Semaphore = Semaphore::const_new(2);

/// A session of the browser, and its driver, which ends with it.
pub struct Browser {
    pub client: Client,
    /// Of the admin listener.
    base: String,
    driver: Child,
    /// Of the driver's session.
    url: String,
    _permit: SemaphorePermit<'static>,
}

impl Browser {
    /// At a service that was started with the token.
    pub async fn start(admin: &str) -> Self {
        let permit = BROWSERS.acquire().await.unwrap();
        let (driver, port) = spawn_blocking(start_driver).await.unwrap();
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": {
                // the sandbox needs rights that a container does not give; what it shows is our own
                "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900"],
            },
            "goog:loggingPrefs": {"browser": "ALL"},
            // a question is answered by the test
            "unhandledPromptBehavior": "ignore",
        });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        let session = client.session_id().await.unwrap().unwrap();
        let url = format!("http://127.0.0.1:{port}/session/{session}");
        Self { client, base: admin.to_owned(), driver, url, _permit: permit }
    }

    /// Signed in as Ada.
    pub async fn signed_in(admin: &str) -> Self {
        let browser = Self::start(admin).await;
        browser.go("/sign-in").await;
        browser.fill("[name=name]", "Ada").await;
        browser.fill("[name=token]", ADMIN_TOKEN).await;
        browser.press("Sign in").await;
        browser.until("document.querySelector('nav') !== null").await;
        browser
    }

    pub async fn go(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.base)).await.unwrap();
    }

    /// The path and the query of the page.
    pub async fn path(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        url.query().map_or(url.path().to_owned(), |query| format!("{}?{query}", url.path()))
    }

    /// What can be read.
    pub async fn text(&self) -> String {
        self.client.find(Locator::Css("body")).await.unwrap().text().await.unwrap()
    }

    pub async fn fill(&self, selector: &str, text: &str) {
        let field = self.client.wait().at_most(TIMEOUT).for_element(Locator::Css(selector)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    pub async fn choose(&self, selector: &str, option: &str) {
        let field = self.client.find(Locator::Css(selector)).await.unwrap();
        field.select_by(Locator::XPath(&format!("option[normalize-space()='{option}']"))).await.unwrap();
    }

    /// Presses a button, or follows a link, by its text.
    pub async fn press(&self, text: &str) {
        let path = format!("//*[(self::button or self::a or self::summary) and normalize-space()='{text}']");
        let element = self.client.wait().at_most(TIMEOUT).for_element(Locator::XPath(&path)).await;
        element.unwrap_or_else(|error| panic!("{text}: {error}")).click().await.unwrap();
    }

    /// Runs a script that returns a value.
    pub async fn ask(&self, expression: &str) -> Value {
        self.client.execute(&format!("return {expression}"), Vec::new()).await.unwrap()
    }

    /// Waits until an expression is true.
    pub async fn until(&self, expression: &str) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            // while a page is left there is no answer
            let answer = self.client.execute(&format!("return {expression}"), Vec::new()).await;
            if answer.is_ok_and(|answer| answer == true) {
                return;
            }
            if Instant::now() > deadline {
                panic!("{expression} never held: {}: {}", self.path().await, self.text().await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a text can be read.
    pub async fn until_text(&self, text: &str) {
        self.until(&format!("document.body.innerText.includes({})", Value::from(text))).await;
    }

    /// What the browser complained of since the last call: violations of the content policy, errors of scripts, and answers
    /// with an error.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.client.issue_cmd(Extension("se/log", json!({"type": "browser"}))).await.unwrap();
        let message = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        log.as_array().unwrap().iter().map(message).collect()
    }

    /// Light or dark: what the reader prefers.
    pub async fn prefer(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let command = json!({"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}});
        self.client.issue_cmd(Extension("goog/cdp/execute", command)).await.unwrap();
    }

    pub async fn accept_question(&self) -> Result<(), CmdError> {
        self.client.accept_alert().await
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // the browser outlives a driver that is killed
        let agent = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build();
        let _ = ureq::Agent::new_with_config(agent).delete(&self.url).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// With its port. It chooses one for IPv4 that may be taken for IPv6, and ends then.
fn start_driver() -> (Child, u16) {
    for _ in 0..10 {
        let mut driver = process::Command::new("chromedriver");
        let driver = driver.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut driver = driver.expect("chromedriver is needed (Debian: apt-get install chromium chromium-driver)");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port =
            lines.find_map(|line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok());
        match port {
            Some(port) => {
                // nobody reads on: what it says later is little
                std::thread::spawn(move || lines.for_each(drop));
                return (driver, port);
            }
            None => drop(driver.wait()),
        }
    }
    panic!("chromedriver does not start");
}

/// A command of chromedriver that is not in the standard.
#[derive(Debug)]
struct Extension(&'static str, Value);

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.0))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.1.to_string()))
    }
}
