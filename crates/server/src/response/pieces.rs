//! Responses that are produced while the client receives them.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use futures_util::stream;
use hyper::body::{Frame, SizeHint};

/// The size of a piece for a connection. It requests more while it holds less than its buffer.
const PIECE_BYTES: usize = 32 << 10;

/// A body of bytes that are there already, whose length is known.
pub(crate) fn in_pieces<B: AsRef<[u8]> + Send + 'static>(owner: B) -> Body {
    Body::new(Pieces(Bytes::from_owner(owner)))
}

/// The next piece of these bytes; all of them are held until the last piece is sent.
pub(crate) fn next_piece(bytes: &mut Bytes) -> Option<Bytes> {
    let length = bytes.len().min(PIECE_BYTES);
    (length > 0).then(|| bytes.split_to(length))
}

/// A body of bytes on demand: `more` produces the next ones, when all before them are taken.
pub(crate) fn as_made<S, F>(
    first: Bytes,
    state: S,
    more: impl FnMut(S) -> F + Send + 'static,
) -> Body
where
    S: Send + 'static,
    F: Future<Output = Option<(Bytes, S)>> + Send + 'static,
{
    let begun = (first, state, more);
    Body::from_stream(stream::unfold(begun, |(mut bytes, mut state, mut more)| async move {
        loop {
            if let Some(piece) = next_piece(&mut bytes) {
                return Some((Ok::<_, Infallible>(piece), (bytes, state, more)));
            }
            (bytes, state) = more(state).await?;
        }
    }))
}

struct Pieces(Bytes);

impl axum::body::HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(next_piece(&mut self.0).map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
