//! A hostile function: Lambda's Invoke API on loopback, with answers from a [`Law`] and every
//! delivery entered in a [`Ledger`].

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::event::Event;
use super::fault::{Answer, Law};
use super::http::{self, Connection, Head};
use super::ledger::Ledger;
use super::respond::respond;

/// The function's name in the request's path.
pub(crate) const NAME: &str = "orders";

#[derive(Debug)]
struct Shared {
    ledger: Arc<Ledger>,
    law: Mutex<Arc<Law>>,
    answers: Mutex<BTreeMap<Answer, u64>>,
    stop: AtomicBool,
    sleepers: (Mutex<()>, Condvar),
}

/// The endpoint. Dropping it closes the port; connections end with their clients.
#[derive(Debug)]
pub(crate) struct Function {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Function {
    /// Listens on a free loopback port.
    pub(crate) fn start(ledger: &Arc<Ledger>, law: Law) -> Self {
        let shared = Arc::new(Shared {
            ledger: Arc::clone(ledger),
            law: Mutex::new(Arc::new(law)),
            answers: Mutex::default(),
            stop: AtomicBool::new(false),
            sleepers: (Mutex::new(()), Condvar::new()),
        });
        let (serving, asked) = (Arc::clone(&shared), Arc::clone(&shared));
        let serve = move |stream| serving.serve(stream);
        let address =
            http::listen(serve, move || asked.stop.load(Ordering::Relaxed)).expect("a free loopback port");
        Self { address, shared }
    }

    /// For `--function-endpoint`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it answers by this law.
    pub(crate) fn obey(&self, law: Law) {
        *self.shared.law.lock().expect("no panic under this lock") = Arc::new(law);
    }

    /// How often each answer was given.
    pub(crate) fn answers(&self) -> BTreeMap<Answer, u64> {
        self.shared.answers.lock().expect("no panic under this lock").clone()
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
        let law = Arc::clone(&self.law.lock().expect("no panic under this lock"));
        let Some(bytes) = self.check(head) else {
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
                self.ledger.complain(format!(
                    "not an event: {error}: {}",
                    String::from_utf8_lossy(&body[..bytes.min(300)])
                ));
                return Ok(false);
            }
        };
        *self.answers.lock().expect("no panic under this lock").entry(answer).or_default() += 1;
        let ticket = self.ledger.begin(&event, bytes);
        if let Answer::SlowMs(ms) = answer {
            self.sleep(Duration::from_millis(ms));
        }
        self.ledger.finish(ticket, answer.acknowledges());
        respond(connection, answer, "null")
    }

    /// The body's length, if the request is one that Lambda would take.
    fn check(&self, head: &Head) -> Option<usize> {
        let expected = format!("POST /2015-03-31/functions/{NAME}/invocations HTTP/1.1");
        let bytes = head.header("content-length").and_then(|length| length.parse().ok());
        let kind = head.header("x-amz-invocation-type").unwrap_or("RequestResponse");
        if head.line != expected || bytes.is_none() || kind != "RequestResponse" {
            self.ledger.complain(format!("the request {head:?}"));
            return None;
        }
        bytes
    }

    fn sleep(&self, time: Duration) {
        let guard = self.sleepers.0.lock().expect("no panic under this lock");
        let stopped = |(): &mut ()| !self.stop.load(Ordering::Relaxed);
        drop(self.sleepers.1.wait_timeout_while(guard, time, stopped));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::super::content::Content;
    use super::*;

    const EVENT: &str = r#"{"eventSource":"SelfManagedKafka","bootstrapServers":"b:1","records":{"t-0":[]}}"#;

    fn function(law: Law) -> (Arc<Ledger>, Function) {
        let ledger = Arc::new(Ledger::new("t", Content::new(0, 1..=2)));
        let function = Function::start(&ledger, law);
        (ledger, function)
    }

    fn send(function: &Function, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(function.address).expect("it listens");
        let length = EVENT.len();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{EVENT}")
            .expect("sent");
        stream
    }

    /// What comes back until the server closes, and how it closed.
    fn exchange(answer: Answer) -> (String, std::io::Result<()>) {
        let (_ledger, function) = function(Law::always(answer));
        let mut stream = send(&function, &format!("/2015-03-31/functions/{NAME}/invocations"));
        // So that a server that keeps the connection says so by a time-out.
        stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a time-out");
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes).map(drop);
        (String::from_utf8_lossy(&bytes).into_owned(), end)
    }

    #[test]
    fn answers_come_as_lambda_sends_them() {
        for (answer, parts) in [
            (Answer::Success, ["HTTP/1.1 200", "null"]),
            (Answer::Status(503), ["HTTP/1.1 503", "ServiceException"]),
            (Answer::Throttled(3), ["HTTP/1.1 429", "Retry-After: 3"]),
            (Answer::FunctionError("Unhandled"), ["HTTP/1.1 200", "X-Amz-Function-Error: Unhandled"]),
        ] {
            let (text, end) = exchange(answer);
            assert!(parts.iter().all(|part| text.contains(part)), "{answer:?}: {text}");
            assert_eq!(
                end.map_err(|e| e.kind()),
                Err(std::io::ErrorKind::WouldBlock),
                "{answer:?} keeps the connection"
            );
        }
    }

    #[test]
    fn faults_are_what_they_are_called() {
        let kind = |answer| {
            let (text, end) = exchange(answer);
            (text.len(), end.map_err(|e| e.kind()))
        };
        assert_eq!(kind(Answer::ResetBefore), (0, Err(std::io::ErrorKind::ConnectionReset)));
        assert_eq!(kind(Answer::ResetMid).1, Err(std::io::ErrorKind::ConnectionReset));
        assert_eq!(kind(Answer::Truncated).1, Ok(()));
        assert!(!exchange(Answer::Garbage).0.starts_with("HTTP"));
        assert_eq!(kind(Answer::Hang), (0, Err(std::io::ErrorKind::WouldBlock)));
    }

    #[test]
    fn a_wrong_path_is_a_problem() {
        let (ledger, function) = function(Law::kind());
        let mut answer = String::new();
        let mut stream = send(&function, "/2015-03-31/functions/other/invocations");
        // The unread body makes the close a reset; what came before it is what counts.
        drop(stream.read_to_string(&mut answer));
        assert_eq!(ledger.progress().problems, 1);
    }
}
