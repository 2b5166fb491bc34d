//! A headless Chromium, driven over the DevTools protocol
//! ([Runtime](https://chromedevtools.github.io/devtools-protocol/tot/Runtime/)). It reaches the loopback alone.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser with one tab. Ends when dropped.
pub(crate) struct Chromium {
    child: Child,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    last_call: u64,
    /// Errors of the page: exceptions, error lines of its console, and what its policy refused.
    pub(crate) errors: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Chromium {
    /// Starts one.
    ///
    /// # Panics
    /// When Chromium is not installed: these tests need it.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("chromium")
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-default-apps"])
            .args(["--remote-debugging-port=0", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"])
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .arg("about:blank")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("needs chromium, by that name on the PATH: .ci/test installs it: {error}")
            });
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (found, address) = tokio::sync::oneshot::channel();
        // Reads on to the end: a full pipe would stop the browser.
        std::thread::spawn(move || {
            let mut found = Some(found);
            for line in lines.map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("DevTools listening on ")
                    && let Some(found) = found.take()
                {
                    let _ = found.send(address.to_owned());
                }
            }
        });
        let address = timeout(PATIENCE, address).await.unwrap().unwrap();
        let (socket, _) = tokio_tungstenite::connect_async(address.trim()).await.unwrap();
        let mut browser =
            Self { child, socket, session: None, last_call: 0, errors: Vec::new(), _folder: folder };
        let tab = browser.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": tab["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach).await;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            browser.call(domain, json!({})).await;
        }
        browser
    }

    /// Calls a method, and returns its result.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_call += 1;
        let mut call = json!({ "id": self.last_call, "method": method, "params": params });
        if let Some(session) = &self.session {
            call["sessionId"] = session.as_str().into();
        }
        self.socket.send(Message::text(call.to_string())).await.unwrap();
        let answering = async {
            loop {
                let message = self.socket.next().await.unwrap().unwrap();
                let Ok(text) = message.to_text() else { continue };
                let Ok(message) = serde_json::from_str::<Value>(text) else { continue };
                if message["id"] == self.last_call {
                    assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                    return message["result"].clone();
                }
                self.errors.extend(error_of(&message));
            }
        };
        timeout(2 * PATIENCE, answering).await.unwrap_or_else(|_| panic!("chromium does not answer {method}"))
    }

    /// Opens an address.
    pub(crate) async fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", json!({ "url": url })).await;
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
    }

    /// Returns the value of an expression; waits for a promise.
    pub(crate) async fn eval(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", params).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true, which is evaluated at each change of the page.
    pub(crate) async fn until(&mut self, expression: &str) {
        let waiting = format!(
            "new Promise((found) => {{
               const check = () => {{ try {{ if ({expression}) {{ watch.disconnect(); found(true); }} }} catch {{}} }};
               const watch = new MutationObserver(check);
               watch.observe(document, {{ subtree: true, childList: true, characterData: true, attributes: true }});
               setTimeout(() => found(false), {});
               check();
             }})",
            PATIENCE.as_millis()
        );
        if self.eval(&waiting).await != true {
            let text = self.eval("document.body.innerText").await;
            panic!("gave up waiting for {expression}; the page says: {text}\nerrors: {:?}", self.errors);
        }
    }

    /// The text of an element.
    pub(crate) async fn text(&mut self, id: &str) -> String {
        let text = self.eval(&format!("document.getElementById('{id}').innerText")).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Presses a key.
    pub(crate) async fn press(&mut self, key: &str) {
        let text = if key.chars().count() == 1 { key } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let params = json!({ "type": kind, "key": key, "code": key, "text": if kind == "keyDown" { text } else { "" } });
            self.call("Input.dispatchKeyEvent", params).await;
        }
    }
}

/// The error that an event of the browser tells of, if it does.
fn error_of(message: &Value) -> Option<String> {
    let params = &message["params"];
    match message["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" if params["type"] == "error" => Some(params["args"].to_string()),
        "Log.entryAdded" if params["entry"]["level"] == "error" => {
            Some(format!("{} ({})", params["entry"]["text"], params["entry"]["source"]))
        }
        _ => None,
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
