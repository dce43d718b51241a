//! A server on loopback that does what it is told, byte for byte: one act per request.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// What the server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Reads the request to its end, answers, and keeps the connection.
    Answer(Vec<u8>),
    /// As `Answer`, then hangs up.
    AnswerAndClose(Vec<u8>),
    /// Answers as soon as the head is read, and hangs up with the body unread: a reset.
    EarlyAndReset(Vec<u8>),
    /// Answers as soon as the head is read, reads no further and keeps the connection.
    EarlyAndHold(Vec<u8>),
    /// Reads no body, answers nothing and keeps the connection.
    Hold,
    /// Hangs up with the body unread: a reset without an answer.
    Reset,
    /// Reads the request to its end and hangs up.
    Close,
    /// Reads the request to its end and never answers.
    Hang,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Which connection it came by, from 0.
    pub(crate) connection: usize,
    /// The first line.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, if it was read.
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) struct Server {
    address: SocketAddr,
    requests: Receiver<Request>,
}

impl Server {
    /// Listens; acts are taken in order, whatever connection a request comes by.
    pub(crate) fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let acts = Arc::new(Mutex::new(acts.into_iter().collect::<VecDeque<_>>()));
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            for (connection, socket) in listener.incoming().enumerate() {
                let (acts, sender) = (Arc::clone(&acts), sender.clone());
                let socket = socket.expect("accepted");
                std::thread::spawn(move || serve(connection, socket, &acts, &sender));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came so far, in order.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.try_iter().collect()
    }
}

fn serve(connection: usize, socket: TcpStream, acts: &Mutex<VecDeque<Act>>, requests: &Sender<Request>) {
    let mut from = BufReader::new(socket.try_clone().expect("a second handle"));
    let mut to = socket;
    while let Some(mut request) = read_head(connection, &mut from) {
        let act = acts.lock().expect("no act panics").pop_front().expect("an act for each request");
        let length: usize =
            request.header("content-length").map_or(0, |length| length.parse().expect("a number"));
        if matches!(act, Act::Answer(_) | Act::AnswerAndClose(_) | Act::Close | Act::Hang) {
            request.body = vec![0; length];
            from.read_exact(&mut request.body).expect("the whole body");
        }
        requests.send(request).expect("the test listens");
        match act {
            Act::Answer(answer) => to.write_all(&answer).expect("the client listens"),
            Act::AnswerAndClose(answer) => return to.write_all(&answer).expect("the client listens"),
            // With bytes unread, closing a socket resets the connection.
            Act::EarlyAndReset(answer) => return to.write_all(&answer).expect("the client listens"),
            Act::Reset | Act::Close => return,
            Act::EarlyAndHold(answer) => {
                to.write_all(&answer).expect("the client listens");
                std::thread::park();
            }
            Act::Hold | Act::Hang => std::thread::park(),
        }
    }
}

fn read_head(connection: usize, from: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines.remove(0);
    let headers = lines.iter().map(|line| line.split_once(": ").expect("a header"));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Some(Request { connection, line, headers, body: Vec::new() })
}

/// An answer with a length.
pub(crate) fn answer(status: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    answer.push_str("\r\n");
    answer.push_str(body);
    answer.into_bytes()
}

/// Success as Lambda answers it.
pub(crate) fn success(body: &str) -> Vec<u8> {
    answer("200 OK", &[("X-Amz-Executed-Version", "$LATEST")], body)
}
