//! The server.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pelton::invoke::law::{Fault, Law, LawError};
use pelton::invoke::verify;
use pelton::invoke::{Passed, Turnstile};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::answer::{self, Answer};

/// Bodies of this many bytes and more are refused with 413, as AWS does.
const BODY_BYTES_LIMIT: u64 = 6_291_456;

/// Connections served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;

/// How long a client may take over the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// What the stand-in does, and where.
#[derive(Clone, Debug)]
pub struct StubSettings {
    /// Where to listen; port 0 takes any free one.
    pub address: SocketAddr,
    /// How invocations go.
    pub law: Law,
    /// Whether each event is parsed and checked; a bad one is answered by a function error.
    pub verify: bool,
}

/// Why the stand-in cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StubError {
    /// The law cannot be followed.
    #[error(transparent)]
    Law(#[from] LawError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {cause}; choose another --port, or 0 for any free one")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
}

/// What was served so far. `GET /stats` answers it as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct StubStats {
    /// Invocations and what became of them.
    #[serde(flatten)]
    pub passed: Passed,
    /// Connections accepted.
    pub connections: u64,
    /// Events that were not what they should be.
    pub mismatches: u64,
    /// What the first of them differed in.
    pub first_mismatch: Option<String>,
    /// Bodies refused as too large.
    pub too_large: u64,
}

/// A server that listens and can be served.
#[derive(Debug)]
pub struct StubServer {
    listener: TcpListener,
    address: SocketAddr,
    stub: Arc<Stub>,
}

/// Reads a server's numbers from outside.
#[derive(Clone, Debug)]
pub struct StubWatch(Arc<Stub>);

impl StubWatch {
    /// What was served so far.
    #[must_use]
    pub fn stats(&self) -> StubStats {
        self.0.stats()
    }
}

impl StubServer {
    /// Listens.
    ///
    /// # Errors
    /// If the law cannot be followed, or the address is taken.
    pub async fn bind(settings: StubSettings) -> Result<Self, StubError> {
        let parse = settings.verify || !settings.law.cost.per_record.is_zero();
        let turnstile = Turnstile::new(settings.law)?;
        let failed = |cause| StubError::Listen { address: settings.address, cause };
        let listener = TcpListener::bind(settings.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stub = Stub {
            turnstile,
            verify: settings.verify,
            parse,
            connections: AtomicU64::new(0),
            mismatches: AtomicU64::new(0),
            first_mismatch: Mutex::new(None),
            too_large: AtomicU64::new(0),
            scratch: Mutex::new(Vec::new()),
        };
        Ok(Self { listener, address, stub: Arc::new(stub) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// For reading the numbers while it serves.
    #[must_use]
    pub fn watch(&self) -> StubWatch {
        StubWatch(Arc::clone(&self.stub))
    }

    /// Serves until `end` completes. Requests under way then are dropped.
    pub async fn serve(self, end: impl Future<Output = ()>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let accepting = async {
            loop {
                let permit = Arc::clone(&room).acquire_owned().await;
                match self.listener.accept().await {
                    Ok((socket, _)) => {
                        self.stub.connections.fetch_add(1, Ordering::Relaxed);
                        let stub = Arc::clone(&self.stub);
                        tokio::spawn(async move {
                            serve_connection(stub, socket).await;
                            drop(permit);
                        });
                    }
                    // Out of descriptors, or the client was gone at once: the next one may do.
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accepting => (),
            () = end => (),
        }
    }
}

/// Leaves HTTP: the connection ends without a proper answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Abort {
    #[error("reset by law")]
    Reset,
    #[error("garbage by law")]
    Garbage,
    #[error("the request broke off")]
    Broken,
}

async fn serve_connection(stub: Arc<Stub>, socket: TcpStream) {
    // The answer is small and must not wait for an acknowledgement.
    let _ = socket.set_nodelay(true);
    let service = service_fn(|request| stub.serve(request));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service);
    let Err(error) = (&mut connection).await else { return };
    let socket = connection.into_parts().io.into_inner();
    match std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<Abort>()) {
        // Dropping the socket then resets the connection instead of closing it.
        Some(Abort::Reset) => drop(socket.set_zero_linger()),
        Some(Abort::Garbage) => {
            if socket.writable().await.is_ok() {
                let _ = socket.try_write(answer::GARBAGE);
            }
        }
        Some(Abort::Broken) | None => (),
    }
}

#[derive(Debug)]
struct Stub {
    turnstile: Turnstile,
    verify: bool,
    /// Whether events must be parsed: to verify them, or to count the records.
    parse: bool,
    connections: AtomicU64,
    mismatches: AtomicU64,
    first_mismatch: Mutex<Option<String>>,
    too_large: AtomicU64,
    /// Buffers for bodies: as many as are parsed at once.
    scratch: Mutex<Vec<Vec<u8>>>,
}

impl Stub {
    async fn serve(&self, request: Request<Incoming>) -> Result<Answer, Abort> {
        let path = request.uri().path();
        match *request.method() {
            Method::POST if is_invocation(path) => self.invoke(request).await,
            Method::GET if path == "/stats" => {
                Ok(answer::json_text(serde_json::to_string(&self.stats()).unwrap_or_default()))
            }
            _ => {
                let message =
                    "this stand-in serves POST /2015-03-31/functions/{name}/invocations and GET /stats";
                Ok(answer::error(StatusCode::NOT_FOUND, "UnknownOperationException", message))
            }
        }
    }

    async fn invoke(&self, request: Request<Incoming>) -> Result<Answer, Abort> {
        let pass = self.turnstile.enter();
        match pass.fault {
            Some(Fault::Reset) => return Err(Abort::Reset),
            Some(Fault::Throttle) => {
                drain(request.into_body()).await?;
                return Ok(answer::throttled());
            }
            Some(Fault::ServiceFault) => {
                drain(request.into_body()).await?;
                let (status, message) = (StatusCode::INTERNAL_SERVER_ERROR, "a service fault by law");
                return Ok(answer::error(status, "ServiceException", message));
            }
            None | Some(Fault::FunctionError | Fault::Garbage) => (),
        }
        let is_request_response = request
            .headers()
            .get("x-amz-invocation-type")
            .is_none_or(|kind| kind.as_bytes() == b"RequestResponse");
        if !is_request_response {
            let message = "this stand-in knows the invocation type RequestResponse only";
            return Ok(answer::error(StatusCode::BAD_REQUEST, "InvalidParameterValueException", message));
        }
        if request.body().size_hint().lower() >= BODY_BYTES_LIMIT {
            return Ok(self.refuse_as_too_large());
        }
        let Some(event) = self.read(request.into_body()).await? else {
            return Ok(self.refuse_as_too_large());
        };
        let latency = pass.latency(event.records, event.bytes);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        match (event.mismatch, pass.fault) {
            (Some(mismatch), _) => Ok(answer::mismatch(&mismatch)),
            (None, Some(Fault::Garbage)) => Err(Abort::Garbage),
            (None, Some(_)) => Ok(answer::function_error("StubError", "an error by law")),
            (None, None) => Ok(answer::success()),
        }
    }

    /// Reads an event to its end; `None` if it is too large.
    async fn read(&self, mut body: Incoming) -> Result<Option<Event>, Abort> {
        let mut json = Scratch { stub: self, bytes: Vec::new() };
        if self.parse {
            json.bytes = lock(&self.scratch).pop().unwrap_or_default();
            json.bytes.clear();
        }
        let mut bytes = 0;
        while let Some(data) = next_data(&mut body).await? {
            bytes += data.len();
            if bytes as u64 >= BODY_BYTES_LIMIT {
                return Ok(None);
            }
            if self.parse {
                json.bytes.extend_from_slice(&data);
            }
        }
        let mut records = 0;
        let mut mismatch = None;
        if self.parse {
            let checked = verify::event(&mut json.bytes, |_| records += 1);
            mismatch = checked.err().filter(|_| self.verify);
        }
        if let Some(mismatch) = &mismatch {
            self.mismatches.fetch_add(1, Ordering::Relaxed);
            lock(&self.first_mismatch).get_or_insert_with(|| mismatch.to_string());
        }
        Ok(Some(Event { bytes, records, mismatch }))
    }

    fn refuse_as_too_large(&self) -> Answer {
        self.too_large.fetch_add(1, Ordering::Relaxed);
        let message =
            format!("Request must be smaller than {BODY_BYTES_LIMIT} bytes for the InvokeFunction operation");
        let mut answer =
            answer::error(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", &message);
        answer.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        answer
    }

    fn stats(&self) -> StubStats {
        StubStats {
            passed: self.turnstile.passed(),
            connections: self.connections.load(Ordering::Relaxed),
            mismatches: self.mismatches.load(Ordering::Relaxed),
            first_mismatch: lock(&self.first_mismatch).clone(),
            too_large: self.too_large.load(Ordering::Relaxed),
        }
    }
}

/// An event that was read.
struct Event {
    bytes: usize,
    /// 0 if it was not parsed.
    records: u32,
    mismatch: Option<verify::Mismatch>,
}

/// A buffer that goes back when it is no longer needed, whichever way the request ends.
struct Scratch<'s> {
    stub: &'s Stub,
    bytes: Vec<u8>,
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if self.bytes.capacity() > 0 {
            lock(&self.stub.scratch).push(std::mem::take(&mut self.bytes));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_invocation(path: &str) -> bool {
    path.strip_prefix("/2015-03-31/functions/")
        .and_then(|rest| rest.strip_suffix("/invocations"))
        .is_some_and(|function| !function.is_empty() && !function.contains('/'))
}

async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, Abort> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(Abort::Broken),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

async fn drain(mut body: Incoming) -> Result<(), Abort> {
    while next_data(&mut body).await?.is_some() {}
    Ok(())
}
