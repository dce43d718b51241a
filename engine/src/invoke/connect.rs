//! Connections to the endpoint: TCP without delay, TLS where asked for, within a time limit.
//!
//! A [`Line`] differs from a plain socket in two things.
//!
//! - A server that refuses a payload early (413) answers, closes and resets while the rest is still
//!   being written; the write fails, and hyper would report the failed write and never look at the
//!   answer that already lies in the socket. So a line keeps a broken write to itself and lets the
//!   reading side say what happened, be it the answer or the reset.
//! - It can be cut from outside. A server may answer early, or never, and neither read on nor hang
//!   up: the unsent payload would hold its arena for as long as the server likes, since hyper
//!   flushes what it has even when nobody waits for the answer any more.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{CaptureConnection, Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::InvokeError;
use super::body::Unsent;
use super::target::Target;

/// After this long without traffic the kernel probes the peer. Functions may run for 15 minutes in
/// silence, and NAT gateways forget a silent connection after 350 s.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// What the HTTP client connects with.
#[cfg(feature = "aws")]
pub(super) type Connector = Within<hyper_rustls::HttpsConnector<Dialer>>;
#[cfg(not(feature = "aws"))]
pub(super) type Connector = Within<Dialer>;

/// The connector for `target`; whatever connecting takes (name, TCP, TLS) must be done within
/// `limit`.
pub(super) fn connector(target: &Target, limit: Duration) -> Result<Connector, InvokeError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_keepalive(Some(TCP_KEEPALIVE));
    http.set_keepalive_interval(Some(TCP_KEEPALIVE));
    let dialer = Dialer { http };
    Ok(Within { inner: secured(dialer, target)?, limit })
}

#[cfg(feature = "aws")]
fn secured(dialer: Dialer, target: &Target) -> Result<hyper_rustls::HttpsConnector<Dialer>, InvokeError> {
    use hyper_rustls::ConfigBuilderExt as _;
    let failed = |reason: String| InvokeError::Tls { endpoint: target.endpoint().to_owned(), reason };
    // The provider is named because the AWS crates bring a second one, which leaves no default.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?;
    let config = if target.is_tls() {
        config.with_native_roots().map_err(|_| {
            failed(
                "no CA certificates found; install the system's (ca-certificates) or set SSL_CERT_FILE"
                    .into(),
            )
        })?
    } else {
        // A machine without CA certificates must still reach a local runtime.
        config.with_root_certificates(rustls::RootCertStore::empty())
    };
    let config = config.with_no_client_auth();
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
    Ok(builder.enable_http1().wrap_connector(dialer))
}

#[cfg(not(feature = "aws"))]
fn secured(dialer: Dialer, target: &Target) -> Result<Dialer, InvokeError> {
    if target.is_tls() {
        let reason = "this build has no TLS; build with the feature `aws` or use http://".to_owned();
        return Err(InvokeError::Tls { endpoint: target.endpoint().to_owned(), reason });
    }
    Ok(dialer)
}

/// Connects within a time limit.
#[derive(Clone)]
pub(super) struct Within<C> {
    inner: C,
    limit: Duration,
}

impl<C> Service<Uri> for Within<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
    C::Response: 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Connecting<C::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (connecting, limit) = (self.inner.call(to), self.limit);
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(format!("no connection within {limit:?}").into()),
            }
        })
    }
}

/// Dials TCP.
#[derive(Clone)]
pub(super) struct Dialer {
    http: HttpConnector,
}

impl Service<Uri> for Dialer {
    type Response = Line;
    type Error = BoxError;
    type Future = Connecting<Line>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.http.call(to);
        Box::pin(async move { Ok(Line { socket: connecting.await?, broken: false, cut: Cut::default() }) })
    }
}

/// Ends the connection of one attempt, if the attempt is over and its payload is not sent.
pub(super) struct CutIfUnsent {
    pub(super) connection: CaptureConnection,
    pub(super) unsent: Unsent,
}

impl Drop for CutIfUnsent {
    fn drop(&mut self) {
        if !self.unsent.any() {
            return;
        }
        if let Some(connected) = self.connection.connection_metadata().as_ref() {
            let mut extras = http::Extensions::new();
            connected.get_extras(&mut extras);
            if let Some(cut) = extras.get::<Cut>() {
                cut.cut();
            }
        }
    }
}

/// Ends a connection that waits for its peer to read. Travels with the connection's metadata.
#[derive(Clone, Default)]
struct Cut(Arc<CutState>);

#[derive(Default)]
struct CutState {
    is_cut: AtomicBool,
    /// Who waits for the socket to take more.
    writer: Mutex<Option<Waker>>,
}

impl Cut {
    fn cut(&self) {
        self.0.is_cut.store(true, Ordering::SeqCst);
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// Waits to be cut; the flag is read after the waker is in place, so that no cut is missed.
    fn wait(&self, cx: &Context<'_>) -> bool {
        *self.0.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        self.0.is_cut.load(Ordering::SeqCst)
    }
}

/// A TCP connection that can be cut, and that leaves it to its reading side to report a broken
/// write.
pub(super) struct Line {
    socket: TokioIo<TcpStream>,
    /// A write has failed; there will be no other.
    broken: bool,
    cut: Cut,
}

impl Line {
    fn write_with(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TokioIo<TcpStream>>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if !self.broken {
            match write(Pin::new(&mut self.socket), cx) {
                // What broke it has made the socket readable too, which wakes this task; and if
                // nobody reads any more, the attempt is over and cuts the line.
                Poll::Ready(Err(error)) if hung_up(&error) => self.broken = true,
                Poll::Pending => (),
                written => return written,
            }
        }
        if self.cut.wait(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Pending
    }
}

fn hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset | ConnectionAborted)
}

impl Write for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().write_with(cx, |socket, cx| socket.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write_with(cx, |socket, cx| socket.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, to)
    }
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        self.socket.connected().extra(self.cut.clone())
    }
}
