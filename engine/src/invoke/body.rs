//! A payload as an HTTP request body.
//!
//! hyper keeps at most 16 buffers of a body in its queue and writes at most 64 slices at once
//! (`MAX_BUF_LIST_BUFFERS`, `MAX_WRITEV_BUFS` in its `proto/h1/io.rs`, 1.12). So the whole payload
//! is given to it as *one* buffer that knows how to show its slices: 64 of them go into each
//! `writev`, the head of the request among them, and nothing is copied in user space. For this the
//! transport must be able to write vectored, else hyper would flatten; `connect` makes sure.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

/// How many slices one `writev` of hyper takes.
const WINDOW_FRAMES: usize = 64;

/// The bytes of a payload that are still to be sent.
pub(super) struct Gather<I> {
    /// The next frames, of which the first may be partly sent. None is empty.
    window: VecDeque<Bytes>,
    /// The frames after those.
    rest: I,
    /// Bytes in both.
    remaining: usize,
    /// Alive as long as there are unsent bytes; see [`Unsent`].
    alive: Arc<()>,
}

impl<I: Iterator<Item = Bytes>> Gather<I> {
    fn new(frames: I, bytes: usize) -> Self {
        let window = VecDeque::with_capacity(WINDOW_FRAMES);
        let mut gather = Self { window, rest: frames, remaining: bytes, alive: Arc::new(()) };
        gather.refill();
        gather
    }

    fn refill(&mut self) {
        while self.window.len() < WINDOW_FRAMES
            && let Some(frame) = self.rest.next()
        {
            if !frame.is_empty() {
                self.window.push_back(frame);
            }
        }
    }
}

/// Tells whether a body has been sent to its end (or been given up), without holding it.
#[derive(Clone)]
pub(super) struct Unsent(Weak<()>);

impl Unsent {
    pub(super) fn any(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// The body of one request: frames that add up to a known length, once.
pub(super) struct PayloadBody<I> {
    gather: Option<Gather<I>>,
}

impl<I: Iterator<Item = Bytes>> PayloadBody<I> {
    pub(super) fn new(frames: I, bytes: usize) -> Self {
        Self { gather: (bytes > 0).then(|| Gather::new(frames, bytes)) }
    }

    pub(super) fn unsent(&self) -> Unsent {
        Unsent(self.gather.as_ref().map_or_else(Weak::new, |gather| Arc::downgrade(&gather.alive)))
    }
}

impl<I: Iterator<Item = Bytes> + Unpin> Body for PayloadBody<I> {
    type Data = Gather<I>;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Gather<I>>, Infallible>>> {
        Poll::Ready(self.gather.take().map(|gather| Ok(Frame::data(gather))))
    }

    fn is_end_stream(&self) -> bool {
        self.gather.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.gather.as_ref().map_or(0, |gather| gather.remaining as u64))
    }
}

impl<I: Iterator<Item = Bytes>> Buf for Gather<I> {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.window.front().map_or(&[], Bytes::as_ref)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        for (slice, frame) in slices.iter_mut().zip(&self.window) {
            *slice = IoSlice::new(frame);
        }
        slices.len().min(self.window.len())
    }

    fn advance(&mut self, mut bytes: usize) {
        assert!(bytes <= self.remaining, "advanced past the end of the payload");
        self.remaining -= bytes;
        while bytes > 0 {
            let front = self.window.front_mut().expect("the frames add up to the payload's length");
            if bytes < front.len() {
                front.advance(bytes);
                break;
            }
            bytes -= front.len();
            self.window.pop_front();
            if self.window.is_empty() {
                self.refill();
            }
        }
        self.refill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(frames: &'static [&'static str]) -> PayloadBody<impl Iterator<Item = Bytes> + Unpin> {
        let bytes = frames.iter().map(|frame| frame.len()).sum();
        PayloadBody::new(frames.iter().map(|frame| Bytes::from_static(frame.as_bytes())), bytes)
    }

    #[test]
    fn frames_come_out_in_order_however_they_are_advanced() {
        for step in 1..=10 {
            let mut gather = body(&["ab", "", "cde", "f", "ghij"]).gather.expect("not empty");
            let mut out = Vec::new();
            while gather.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 3];
                let filled = gather.chunks_vectored(&mut slices);
                let seen: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
                let taken = step.min(seen.len());
                out.extend_from_slice(&seen[..taken]);
                gather.advance(taken);
            }
            assert_eq!(out, b"abcdefghij");
        }
    }

    #[test]
    fn more_frames_than_the_window_holds_come_out_too() {
        let frames: Vec<_> = (0..1000).map(|n: u32| Bytes::from(n.to_string())).collect();
        let all = frames.concat();
        let mut gather = Gather::new(frames.into_iter(), all.len());
        let mut slices = [IoSlice::new(&[]); WINDOW_FRAMES];
        assert_eq!(gather.chunks_vectored(&mut slices), WINDOW_FRAMES);
        let mut out = vec![0; all.len()];
        gather.copy_to_slice(&mut out);
        assert_eq!(out, all);
        let mut gather = Gather::new(std::iter::repeat_n(Bytes::from_static(b"x"), 1000), 1000);
        gather.advance(999);
        assert_eq!(gather.chunk(), b"x");
    }

    #[test]
    fn the_length_is_exact_and_an_empty_payload_has_ended() {
        assert_eq!(body(&["abc", "", "de"]).size_hint().exact(), Some(5));
        assert_eq!(body(&[""]).size_hint().exact(), Some(0));
        assert!(body(&[""]).is_end_stream());
    }

    #[test]
    fn a_body_is_unsent_until_its_buffer_is_gone() {
        let mut body = body(&["abc"]);
        let unsent = body.unsent();
        assert!(unsent.any());
        let gather = body.gather.take();
        assert!(unsent.any());
        drop(gather);
        assert!(!unsent.any());
    }
}
