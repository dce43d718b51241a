//! The hostile function: Lambda's Invoke API on loopback, which answers by a [`Law`], checks every
//! byte it is handed and tells the audit.
//!
//! Each engine invokes a function of its own name, `MAPPING-NUMBER`: so the audit knows who delivers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::audit::{Said, Ticket};
use super::event::Event;
use super::fault::{Answer, Law};
use super::http::{self, Connection, Head};
use super::mapping::Mapping;
use super::respond::respond;

/// The endpoint. Dropping it closes the port; connections end with their clients.
#[derive(Debug)]
pub(super) struct Function {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    mappings: Vec<Arc<Mapping>>,
    law: Mutex<Arc<Law>>,
    answers: Mutex<BTreeMap<&'static str, u64>>,
    stop: AtomicBool,
    sleepers: (Mutex<()>, Condvar),
}

impl Function {
    /// Listens on a free loopback port.
    pub(super) fn start(mappings: &[Arc<Mapping>], law: Law) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            mappings: mappings.to_vec(),
            law: Mutex::new(Arc::new(law)),
            answers: Mutex::default(),
            stop: AtomicBool::new(false),
            sleepers: (Mutex::new(()), Condvar::new()),
        });
        let (serving, asked) = (Arc::clone(&shared), Arc::clone(&shared));
        let serve = move |stream| serving.serve(stream);
        let address = http::listen(serve, move || asked.stop.load(Ordering::Relaxed))?;
        Ok(Self { address, shared })
    }

    /// For `function_endpoint`.
    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it answers by this law.
    pub(super) fn obey(&self, law: Law) {
        *lock(&self.shared.law) = Arc::new(law);
    }

    /// How often each answer was given.
    pub(super) fn answers(&self) -> BTreeMap<String, u64> {
        lock(&self.shared.answers).iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.sleepers.1.notify_all();
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        Connection::serve(stream, &self.stop, |connection, head| self.invoke(connection, head));
    }

    /// One invocation; whether the connection lives on.
    fn invoke(&self, connection: &mut Connection<'_>, head: &Head) -> std::io::Result<bool> {
        if head.line.contains(super::side::FUNCTION) {
            let bytes = head.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            let whole = connection.body(bytes, false)?.is_some();
            return Ok(whole && respond(connection, Answer::Success, "null")?);
        }
        let law = Arc::clone(&lock(&self.law));
        let Some((mapping, engine, bytes)) = self.check(head) else {
            if let Some(mapping) = self.mappings.first() {
                mapping.complain(format!("the request {head:?}"));
            }
            connection
                .write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            return Ok(false);
        };
        let answer = law.next();
        let leave_last = matches!(answer, Answer::ResetBefore | Answer::ResetMid);
        let Some(body) = connection.body(bytes, leave_last)? else { return Ok(false) };
        let event = match serde_json::from_slice::<Event<'_>>(&body) {
            Ok(event) => event,
            Err(error) => {
                let start = String::from_utf8_lossy(&body[..bytes.min(300)]).into_owned();
                mapping.complain(format!("not an event: {error}: {start}"));
                return Ok(false);
            }
        };
        let groups = mapping.read(&event);
        let ticket = mapping.begin(engine, groups);
        if let Answer::SlowMs(ms) = answer {
            self.sleep(Duration::from_millis(ms));
        }
        let (name, response) = if answer.acknowledges() {
            decide(mapping, &ticket)
        } else {
            mapping.finish(&ticket, Said::Failed);
            (words(answer), String::new())
        };
        *lock(&self.answers).entry(name).or_default() += 1;
        let alive = respond(connection, answer, &response);
        if alive.is_err() && answer.acknowledges() {
            mapping.unsay(&ticket);
        }
        alive
    }

    /// Whose invocation it is, and the body's length, if the request is one that Lambda would take.
    fn check(&self, head: &Head) -> Option<(&Arc<Mapping>, u16, usize)> {
        let path = head.line.strip_prefix("POST /2015-03-31/functions/")?;
        let name = path.strip_suffix("/invocations HTTP/1.1")?;
        let (mapping, engine) = name.rsplit_once('-')?;
        let bytes = head.header("content-length")?.parse().ok()?;
        let mapping = self.mappings.iter().find(|known| known.terms.name == mapping)?;
        Some((mapping, engine.parse().ok()?, bytes))
    }

    fn sleep(&self, time: Duration) {
        let guard = lock(&self.sleepers.0);
        let stopped = |(): &mut ()| !self.stop.load(Ordering::Relaxed);
        drop(self.sleepers.1.wait_timeout_while(guard, time, stopped));
    }
}

/// Which records of an invocation that is answered with success are done, and the response that says
/// so.
fn decide(mapping: &Mapping, ticket: &Ticket) -> (&'static str, String) {
    let failed = mapping.rotten(ticket);
    if failed.is_empty() {
        mapping.finish(ticket, Said::Done);
        return ("success", "null".to_owned());
    }
    if !mapping.partial {
        mapping.finish(ticket, Said::Failed);
        return ("success", "null".to_owned());
    }
    mapping.finish(ticket, Said::Partly(&failed));
    let mut response = String::from("{\"batchItemFailures\":[");
    for (number, (partition, offset)) in failed.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let key = format_args!("{}-{partition}", mapping.topic);
        write!(response, "{comma}{{\"itemIdentifier\":{{\"partition\":\"{key}\",\"offset\":{offset}}}}}")
            .expect("a String takes all");
    }
    response.push_str("]}");
    ("success in part", response)
}

/// In words, for the verdict.
const fn words(answer: Answer) -> &'static str {
    match answer {
        Answer::Success | Answer::SlowMs(_) => "success",
        Answer::Status(_) => "5xx",
        Answer::Throttled(_) => "throttled (429)",
        Answer::FunctionError(_) => "function error",
        Answer::ResetBefore => "reset instead of an answer",
        Answer::ResetMid => "reset within the answer",
        Answer::Truncated => "half an answer",
        Answer::Garbage => "garbage",
        Answer::Hang => "hang",
        Answer::Drip => "slow-loris",
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
