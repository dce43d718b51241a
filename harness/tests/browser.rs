//! The tuner's report in a real browser: Chromium without a window, spoken to over two pipes.
//!
//! `PELTON_TEST_CHROMIUM` names the program; `scripts/test` sets it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use pelton::time::{Clock, Nanos};
use serde_json::{Value, json};

/// How long the browser may take for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page.
struct Browser {
    child: Child,
    orders: File,
    words: Receiver<Value>,
    session: String,
    next: u64,
    /// What the page asked of the network, and its errors.
    complaints: Vec<String>,
    _directory: tempfile::TempDir,
}

impl Browser {
    fn start() -> Self {
        let program = std::env::var("PELTON_TEST_CHROMIUM").expect("PELTON_TEST_CHROMIUM names Chromium");
        let directory = tempfile::tempdir().expect("a directory");
        let [orders, words] = ["orders", "words"].map(|name| directory.path().join(name));
        let made = Command::new("mkfifo").args([&orders, &words]).status().expect("mkfifo is there");
        assert!(made.success());
        // The browser reads its orders from descriptor 3 and answers on 4.
        let child = Command::new("sh")
            .arg("-c")
            .arg("exec \"$0\" \"$@\" 3<\"$ORDERS\" 4>\"$WORDS\"")
            .arg(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--remote-debugging-pipe", "--window-size=1300,1000", "--no-first-run"])
            .arg(format!("--user-data-dir={}", directory.path().join("profile").display()))
            .env("ORDERS", &orders)
            .env("WORDS", &words)
            .env("HOME", directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh is there");
        let orders = OpenOptions::new().write(true).open(orders).expect("a pipe");
        let answers = BufReader::new(File::open(words).expect("a pipe"));
        let (told, words) = channel();
        std::thread::spawn(move || {
            for word in answers.split(0) {
                let Ok(word) = word else { return };
                if told.send(serde_json::from_slice(&word).unwrap_or(Value::Null)).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            orders,
            words,
            session: String::new(),
            next: 0,
            complaints: Vec::new(),
            _directory: directory,
        };
        let target = browser.order("Target.createTarget", json!({"url": "about:blank"}));
        let attached =
            browser.order("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Runtime.enable", "Log.enable", "Network.enable", "Page.enable"] {
            browser.order(domain, json!({}));
        }
        browser
    }

    fn order(&mut self, method: &str, params: impl Into<Value>) -> Value {
        self.next += 1;
        let id = self.next;
        let mut order = json!({"id": id, "method": method, "params": params.into()});
        if !self.session.is_empty() {
            order["sessionId"] = json!(self.session);
        }
        self.orders.write_all(format!("{order}\0").as_bytes()).expect("the browser runs");
        let clock = Clock::start();
        loop {
            let left = PATIENCE.saturating_sub(clock.now() - Nanos::ZERO);
            let word = self.words.recv_timeout(left).unwrap_or_else(|error| panic!("{method}: {error}"));
            self.listen(&word);
            if word["id"] == json!(id) {
                assert!(word["error"].is_null(), "{method}: {}", word["error"]);
                return word["result"].clone();
            }
        }
    }

    fn listen(&mut self, word: &Value) {
        let params = &word["params"];
        let complaint = match word["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                (!url.starts_with("file:") && !url.starts_with("data:") && !url.starts_with("blob:"))
                    .then(|| format!("asked for {url}"))
            }
            "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" if params["type"] == "error" => Some(params["args"].to_string()),
            "Log.entryAdded" if params["entry"]["level"] == "error" => Some(params["entry"].to_string()),
            _ => None,
        };
        self.complaints.extend(complaint);
    }

    /// The value of an expression.
    fn ask(&mut self, expression: &str) -> Value {
        let answer = self.order("Runtime.evaluate", json!({"expression": expression, "returnByValue": true}));
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    fn until(&mut self, expression: &str) {
        let clock = Clock::start();
        while self.ask(expression) != json!(true) {
            assert!(
                clock.now() - Nanos::ZERO < PATIENCE,
                "{expression} does not come true: {:?}",
                self.complaints
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn open(&mut self, page: &Path) {
        self.order("Page.navigate", json!({"url": format!("file://{}", page.display())}));
        self.until("document.readyState == 'complete' && document.body.dataset.ready == 'yes'");
    }

    /// Moves the mouse to the middle of an element, or presses it there.
    fn mouse(&mut self, element: &str, press: bool) {
        let place = self.ask(&format!(
            "(() => {{ const e = {element}; e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect(); \
             return {{x: r.x + r.width / 2, y: r.y + r.height / 2}}; }})()"
        ));
        let kinds: &[&str] =
            if press { &["mouseMoved", "mousePressed", "mouseReleased"] } else { &["mouseMoved"] };
        for kind in kinds {
            let mut event = json!({"type": kind, "x": place["x"], "y": place["y"]});
            if *kind != "mouseMoved" {
                event["button"] = json!("left");
                event["clickCount"] = json!(1);
            }
            self.order("Input.dispatchMouseEvent", event);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn report(directory: &Path, scenario: &str) -> std::path::PathBuf {
    let page = directory.join("tune.html");
    let output = Command::new(env!("CARGO_BIN_EXE_pelton-harness"))
        .args([
            "tune",
            "--scenario",
            scenario,
            "--trace",
            "20s",
            "--points",
            "64",
            "--seeds",
            "2",
            "--no-runs",
        ])
        .arg("--html")
        .arg(&page)
        .current_dir(directory)
        .output()
        .expect("the harness is built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    page
}

#[test]
#[ignore = "wants Chromium; scripts/test runs it"]
fn the_report_draws_answers_the_mouse_and_asks_nothing_of_the_network() {
    let directory = tempfile::tempdir().unwrap();
    let page = report(directory.path(), "latency");
    let mut browser = Browser::start();
    browser.open(&page);
    for plot in ["pareto", "cdf", "nines", "lag", "scaling", "causes", "fill"] {
        let drawn = browser.ask(&format!("document.querySelectorAll('#{plot} .main-svg').length > 0"));
        assert_eq!(drawn, json!(true), "{plot} is drawn");
    }
    let tried = browser.ask("document.querySelectorAll('#all tbody tr').length");
    assert!(tried.as_u64() > Some(10), "{tried} settings in the table");

    // The mouse over the recommended setting shows it.
    let star =
        "[...document.querySelectorAll('#pareto .scatterlayer .trace')].at(-1).querySelector('.point')";
    browser.mouse(star, false);
    browser.until(
        "[...document.querySelectorAll('#pareto .hoverlayer text')].some(t => /pollers/.test(t.textContent))",
    );
    // A click on a point of the front pins it, the button lets it go.
    let pinned = "document.querySelectorAll('#pinned tbody tr').length";
    assert_eq!(browser.ask(pinned), json!(2));
    let point = "[...document.querySelectorAll('#pareto .scatterlayer .trace')][1].querySelector('.point')";
    browser.mouse(point, true);
    browser.until(&format!("{pinned} == 3"));
    browser.mouse("document.querySelector('#pinned .unpin')", true);
    browser.until(&format!("{pinned} == 2"));
    // A heading sorts, and sorts the other way.
    let sizes = "[...document.querySelectorAll('#all tbody tr')].map(r => Number(r.cells[0].textContent))";
    for (way, order) in [("ascending", "a <= b"), ("descending", "a >= b")] {
        browser.mouse("document.querySelectorAll('#all thead th')[0]", true);
        browser.until(&format!("document.querySelectorAll('#all thead th')[0].ariaSort == '{way}'"));
        let sorted = format!(
            "(() => {{ const s = {sizes}; return s.every((b, i) => i == 0 || ((a) => {order})(s[i - 1])); }})()"
        );
        assert_eq!(browser.ask(&sorted), json!(true), "{way}");
    }
    // Dark and light, wide and on a telephone: nothing sticks out.
    let paper = "getComputedStyle(document.body).backgroundColor";
    let light = browser.ask(paper);
    let features = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
    browser.order("Emulation.setEmulatedMedia", json!({"features": features}));
    browser.until(&format!("{paper} != {light}"));
    let phone = json!({"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": true});
    browser.order("Emulation.setDeviceMetricsOverride", phone);
    browser.until("document.documentElement.scrollWidth <= 400");
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}

#[test]
#[ignore = "wants Chromium; scripts/test runs it"]
fn text_of_users_stays_text() {
    let directory = tempfile::tempdir().unwrap();
    // The file's name and what it says of itself stand in the page and in what its script reads.
    let hostile = "<!--<script>'><img src=x onerror='window.caught=1'>";
    let about = "<!--<script></script><script>window.caught = 2</script>";
    let text = format!("about = \"\"\"{about}\"\"\"\narrival = \"constant(500/s)\"");
    std::fs::write(directory.path().join(hostile), text).unwrap();
    let page = report(directory.path(), hostile);
    let mut browser = Browser::start();
    browser.open(&page);
    assert_eq!(browser.ask("window.caught === undefined"), json!(true));
    assert!(browser.ask("document.querySelector('.kicker').textContent").to_string().contains("onerror"));
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}
