//! A server of the real command, and browsers with its console.

use std::future::Future;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use rehome_app::tokens::TokenHash;
use rehome_tests::process::{Process, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// The secret of the token that acts.
pub(crate) const OPERATOR: &str = "rehome_operator_of_the_test";
/// The secret of the viewer's token.
pub(crate) const VIEWER: &str = "rehome_viewer_of_the_test";
/// Only a failing test gets there.
const PATIENCE: Duration = Duration::from_secs(90);

/// A deployment, its server, and a driver of browsers.
pub(crate) struct Site {
    pub(crate) tenant: String,
    url: String,
    driver_port: u16,
    server: std::cell::RefCell<Process>,
    _driver: Process,
    folder: tempfile::TempDir,
}

impl Site {
    /// A tenant with so many events in `shared`.
    pub(crate) fn open(events: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_owned();
        let tenant = uuid::Uuid::new_v4().to_string();
        let config = format!(
            "[control_plane]\nurl = \"sqlite:control.db\"\n\
             [[stores]]\nid = \"shared\"\nurl = \"sqlite:shared.db\"\ndefault = true\n\
             [[stores]]\nid = \"dedicated\"\nurl = \"sqlite:dedicated.db\"\n\
             [server]\nbind = \"127.0.0.1:0\"\n\
             [[auth.tokens]]\nname = \"acts\"\nrole = \"operator\"\nsha256 = \"{}\"\n\
             [[auth.tokens]]\nname = \"looks\"\nrole = \"viewer\"\nsha256 = \"{}\"\n",
            TokenHash::of(OPERATOR),
            TokenHash::of(VIEWER)
        );
        std::fs::write(at.join("rehome.toml"), config).unwrap();
        let line = |n: u32| {
            let event = json!({
                "tenant_id": tenant, "stream_type": "order", "stream_id": format!("o-{}", n % 50),
                "event_id": uuid::Uuid::new_v4(), "event_type": "Changed",
                "occurred_at": "2026-01-02T03:04:05Z", "data": {"n": n}, "metadata": {},
            });
            format!("{event}\n")
        };
        std::fs::write(at.join("events.ndjson"), (0..events).map(line).collect::<String>())
            .unwrap();
        let command = |words: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_rehome-failpoints"));
            // Without a rollback window a command, and the work of a server, ends with the switch.
            command.env("REHOME_MIGRATION_ROLLBACK_WINDOW", "0s");
            command.args(words).current_dir(&at).env_remove("REHOME_FAILPOINT");
            command
        };
        let mut import = Process::start(
            command(&["import", "--store", "shared", "events.ndjson"]),
            &at,
            "import",
        )
        .unwrap();
        import.succeeds().unwrap();
        let server = Process::start(command(&["serve", "--json"]), &at, "serve").unwrap();
        let url = wait_for("the server", || {
            let said = server.said()?;
            let line =
                said.lines().next().and_then(|line| serde_json::from_str::<Value>(line).ok());
            Ok(line.and_then(|line| line["url"].as_str().map(str::to_owned)))
        })
        .unwrap();
        let (driver, driver_port) = driver(&at);
        Self { tenant, url, driver_port, server: server.into(), _driver: driver, folder }
    }

    /// A browser with this token.
    pub(crate) async fn browse(&self, token: &str) -> Page {
        self.browse_with(token, &[]).await
    }

    /// The same with more arguments.
    pub(crate) async fn browse_with(&self, token: &str, more: &[&str]) -> Page {
        let profile = self.folder.path().join(uuid::Uuid::new_v4().to_string());
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--window-size=1280,1600".to_owned(),
            format!("--user-data-dir={}", profile.display()),
        ];
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        if rustix::process::geteuid().is_root() {
            // Chromium's sandbox does not start as root.
            arguments.push("--no-sandbox".to_owned());
        }
        let options = json!({ "args": arguments, "binary": chromium() });
        let capabilities = json!({ "goog:chromeOptions": options });
        let Value::Object(capabilities) = capabilities else { unreachable!("it is an object") };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{}", self.driver_port))
            .await
            .expect("the browser starts");
        let page = Page { client, url: self.url.clone() };
        page.goto("/console/login").await;
        page.fill("token", token).await;
        page.press("Log in").await;
        page.shows("Migrations").await;
        page
    }

    /// Ends the server, as a machine that is gone.
    pub(crate) fn stop_server(&self) {
        self.server.borrow_mut().kill().unwrap();
    }
}

/// A test that failed has not closed its browsers, and their driver does not when it is killed.
impl Drop for Site {
    fn drop(&mut self) {
        let ours = self.folder.path().display().to_string();
        let Ok(processes) = std::fs::read_dir("/proc") else { return };
        let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        for pid in pids.filter_map(Pid::from_raw) {
            let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
            let is_ours = line.is_ok_and(|line| String::from_utf8_lossy(&line).contains(&ours));
            if is_ours {
                // One that has just ended is as good.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

fn chromium() -> PathBuf {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    found(&names).expect("Chromium is not installed; `./x setup` installs it, or: apt-get install chromium chromium-driver")
}

fn found(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
}

/// Starts the driver on a port that the system chooses.
fn driver(folder: &std::path::Path) -> (Process, u16) {
    let program = found(&["chromedriver"])
        .expect("chromedriver is not installed; `./x setup` installs it, or: apt-get install chromium-driver");
    let mut command = Command::new(program);
    command.arg("--port=0").stdin(Stdio::null());
    // Five and a half hours before UTC, and without a summer time.
    command.env("TZ", "Asia/Kolkata");
    let driver = Process::start(command, folder, "chromedriver").unwrap();
    let port = wait_for("chromedriver", || {
        let said = driver.said()?;
        let port = said
            .split("successfully on port ")
            .nth(1)
            .and_then(|rest| rest.split(['.', '\n']).next());
        Ok(port.and_then(|port| port.trim().parse::<u16>().ok()).filter(|port| *port != 0))
    });
    (driver, port.unwrap())
}

/// A page in a browser.
pub(crate) struct Page {
    client: Client,
    url: String,
}

impl Page {
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn goto(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.url)).await.unwrap();
    }

    /// Starts a migration of the site's tenant; answers the path of its page.
    pub(crate) async fn start(&self, site: &Site, rate: &str) -> String {
        let tenant = &site.tenant;
        self.goto(&format!(
            "/console/plan?tenant={tenant}&to=dedicated&cutover=manual&rate={rate}"
        ))
        .await;
        self.press("Start the migration").await;
        self.shows("Phases").await;
        self.client.current_url().await.unwrap().path().to_owned()
    }

    async fn named(&self, name: &str) -> Element {
        let css = format!("[name={name}]:not([type=hidden])");
        self.client.wait().at_most(PATIENCE).for_element(Locator::Css(&css)).await.unwrap()
    }

    pub(crate) async fn fill(&self, name: &str, text: &str) {
        let field = self.named(name).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    pub(crate) async fn choose(&self, name: &str, value: &str) {
        self.named(name).await.select_by_value(value).await.unwrap();
    }

    /// Presses the button of this label.
    pub(crate) async fn press(&self, label: &str) {
        let path = format!("//main//button[normalize-space()='{label}']");
        let button =
            self.client.wait().at_most(PATIENCE).for_element(Locator::XPath(&path)).await.unwrap();
        button.click().await.unwrap();
    }

    /// Follows the link of this label, once it is there: the page may be about to change under the hand.
    pub(crate) async fn click_link(&self, label: &str) {
        let path = format!("//a[normalize-space()='{label}']");
        self.until(label, async || match self.client.find(Locator::XPath(&path)).await {
            Ok(link) => link.click().await.is_ok(),
            Err(_) => false,
        })
        .await;
    }

    /// Waits until the page shows the text.
    pub(crate) async fn shows(&self, text: &str) {
        self.until(text, async || self.text("body").await.contains(text)).await;
    }

    /// Waits until it is so.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, what: &str, is_so: impl Fn() -> F) {
        let looked = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, looked).await.is_ok();
        assert!(in_time, "waited too long for: {what}; the page: {}", self.text("body").await);
    }

    /// The text of an element as it is shown; empty when it is not there or was just replaced.
    pub(crate) async fn text(&self, css: &str) -> String {
        match self.client.find(Locator::Css(css)).await {
            Ok(element) => element.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    pub(crate) async fn has(&self, css: &str) -> bool {
        self.client.find(Locator::Css(css)).await.is_ok()
    }

    /// How far a progress bar is.
    pub(crate) async fn number_of(&self, css: &str) -> f64 {
        let script = format!("return document.querySelector('{css}')?.value ?? 0");
        self.value(&script).await.as_f64().unwrap_or_default()
    }

    pub(crate) async fn run(&self, script: &str) {
        self.client.execute(script, Vec::new()).await.unwrap();
    }

    pub(crate) async fn value(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// What axe finds against the page, as `rule: element`.
    pub(crate) async fn found_by_axe(&self) -> Vec<String> {
        static AXE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let axe = AXE.get_or_init(|| {
            let file = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../target/browser/node_modules/axe-core/axe.min.js"
            );
            std::fs::read_to_string(file).expect("axe-core is missing; `./x setup` fetches it")
        });
        self.run(axe).await;
        let looks = "const done = arguments[arguments.length - 1]; axe.run(document).then(\
            (found) => done(found.violations.flatMap((rule) => rule.nodes.map((node) => \
            rule.id + ': ' + node.html.slice(0, 160) + ' ' + node.failureSummary))), \
            (error) => done(['axe: ' + error]))";
        let found = self.client.execute_async(looks, Vec::new()).await.unwrap();
        serde_json::from_value(found).unwrap()
    }

    pub(crate) async fn resize(&self, width: u32, height: u32) {
        self.client.set_window_size(width, height).await.unwrap();
    }

    /// Stores a screenshot where `REHOME_SCREENSHOTS` points.
    pub(crate) async fn shot(&self, name: &str) {
        if let Some(folder) = std::env::var_os("REHOME_SCREENSHOTS") {
            let picture = self.client.screenshot().await.unwrap();
            std::fs::write(PathBuf::from(folder).join(format!("{name}.png")), picture).unwrap();
        }
    }

    pub(crate) async fn close(self) {
        self.client.close().await.unwrap();
    }
}
