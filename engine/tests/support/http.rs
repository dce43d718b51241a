//! As much of HTTP/1.1's server side as a function endpoint needs. By hand, because a real server
//! library would not send half an answer and then a reset.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const HEAD_BYTES_MAX: usize = 32 * 1024;
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A request's first lines.
#[derive(Debug)]
pub(crate) struct Head {
    /// Method, path and version.
    pub(crate) line: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// A header's value, if it occurs; `name` in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.split("\r\n");
        let line = lines.next()?.to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Self { line, headers })
    }
}

/// Listens on a free loopback port and calls `serve` for each connection, on a thread of its own, until it
/// is `stopped`, which is asked at each connection.
pub(crate) fn listen(
    serve: impl Fn(TcpStream) + Clone + Send + 'static,
    stopped: impl Fn() -> bool + Send + 'static,
) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let thread = || std::thread::Builder::new().name("function".into());
    thread().spawn(move || {
        for stream in listener.incoming() {
            if stopped() {
                return;
            }
            let Ok(stream) = stream else { continue };
            let serve = serve.clone();
            // Out of threads, the connection closes, which is one more fault.
            drop(thread().spawn(move || serve(stream)));
        }
    })?;
    Ok(address)
}

/// A connection that an HTTP client opened.
#[derive(Debug)]
pub(crate) struct Connection<'s> {
    stream: TcpStream,
    stop: &'s AtomicBool,
}

impl<'s> Connection<'s> {
    /// Answers the requests of a connection, one after the other, until `answer` does not say that it
    /// lives on. A client that is killed mid-request is part of the game: its errors end the connection.
    pub(crate) fn serve(
        stream: TcpStream,
        stop: &'s AtomicBool,
        mut answer: impl FnMut(&mut Self, &Head) -> Result<bool>,
    ) {
        let Ok(mut connection) = Self::new(stream, stop) else { return };
        while let Ok(Some(head)) = connection.head() {
            if !matches!(answer(&mut connection, &head), Ok(true)) {
                return;
            }
        }
    }

    /// Serves until the client leaves or `stop` is set.
    fn new(stream: TcpStream, stop: &'s AtomicBool) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream, stop })
    }

    /// Waits for a request and takes its head, not a byte more. `None` once the client has left.
    pub(crate) fn head(&mut self) -> Result<Option<Head>> {
        let mut bytes = vec![0; HEAD_BYTES_MAX];
        loop {
            let Some(seen) = self.patiently(|stream| stream.peek(&mut bytes))?.filter(|&seen| seen > 0)
            else {
                return Ok(None);
            };
            if let Some(end) = bytes[..seen].windows(4).position(|four| four == b"\r\n\r\n") {
                self.stream.read_exact(&mut bytes[..end + 4])?;
                return Ok(Head::parse(&bytes[..end]));
            }
            if seen == bytes.len() {
                return Err(ErrorKind::InvalidData.into());
            }
            std::thread::yield_now();
        }
    }

    /// Takes the body. With `leave_last` its last byte is only looked at: closing a connection
    /// with unread bytes is what makes the kernel send RST instead of FIN.
    pub(crate) fn body(&mut self, bytes: usize, leave_last: bool) -> Result<Option<Vec<u8>>> {
        if bytes == 0 || bytes > BODY_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; bytes];
        let mut filled = 0;
        while filled < bytes {
            let last = filled + 1 == bytes && leave_last;
            let end = if last || !leave_last { bytes } else { bytes - 1 };
            let room = &mut body[filled..end];
            let read = self.patiently(|mut s| if last { s.peek(room) } else { s.read(room) })?;
            match read {
                None | Some(0) => return Ok(None),
                Some(read) => filled += read,
            }
        }
        Ok(Some(body))
    }

    /// Sends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)
    }

    /// Waits until the client closes.
    pub(crate) fn wait_for_close(&mut self) {
        let mut bytes = [0; 1024];
        while matches!(self.patiently(|mut stream| stream.read(&mut bytes)), Ok(Some(read)) if read > 0) {}
    }

    /// Sends a byte, again and again, until the client closes or it is told to stop.
    pub(crate) fn drip(&mut self) -> Result<()> {
        self.stream.set_read_timeout(Some(Duration::from_millis(20)))?;
        while !self.stop.load(Ordering::Relaxed) {
            self.stream.write_all(b" ")?;
            match (&self.stream).read(&mut [0; 64]) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Ok(read) if read > 0 => {}
                _ => break,
            }
        }
        Ok(())
    }

    /// Repeats a read across its timeouts; `None` if told to stop.
    fn patiently(&self, mut read: impl FnMut(&TcpStream) -> Result<usize>) -> Result<Option<usize>> {
        loop {
            match read(&self.stream) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.stop.load(Ordering::Relaxed) {
                        return Ok(None);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other.map(Some),
            }
        }
    }
}
