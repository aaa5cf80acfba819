//! gzip as gunzip accepts it: any number of members, and zeros behind the last one, with which tapes and
//! block devices pad. Anything else behind it is an error.

use std::io::{self, BufRead, Chain, Cursor, Read};

use flate2::bufread::GzDecoder;

/// Something follows the packed data that is not packed data.
#[derive(Debug, thiserror::Error)]
#[error(
    "bytes after the end of the gzip stream are neither gzip nor zeros; if you do not need \
     them, unpack the file and import the result"
)]
pub(super) struct TrailingJunk;

impl TrailingJunk {
    /// Whether that is why a read failed.
    pub(super) fn is_why(error: &io::Error) -> bool {
        error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()).is_some()
    }
}

/// The two bytes that a member begins with.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Unpacks a file, member by member.
pub(super) struct Gunzip<R>(State<R>);

/// The bytes of a member, of which the first were read ahead.
type Packed<R> = Chain<Cursor<Vec<u8>>, R>;

enum State<R> {
    Member(GzDecoder<Packed<R>>),
    /// Behind a member.
    Between(R),
    /// At the end, or broken.
    Over,
}

impl<R: BufRead> Gunzip<R> {
    pub(super) fn new(packed: R) -> Self {
        Self(State::member(Vec::new(), packed))
    }
}

impl<R: BufRead> State<R> {
    fn member(start: Vec<u8>, rest: R) -> Self {
        Self::Member(GzDecoder::new(Cursor::new(start).chain(rest)))
    }
}

/// What comes behind a member: another one, the end, or what must not be there.
fn after<R: BufRead>(mut packed: R) -> io::Result<State<R>> {
    let mut zeros = false;
    let mut start = Vec::new();
    while start.len() < MAGIC.len() {
        let mut byte = [0];
        match packed.read(&mut byte) {
            // Nothing but the first byte of a member is a member that was cut off.
            Ok(0) if start.is_empty() => return Ok(State::Over),
            Ok(0) => break,
            Ok(_) if start.is_empty() && byte[0] == 0 => zeros = true,
            Ok(_) if !zeros && byte[0] == MAGIC[start.len()] => start.push(byte[0]),
            Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, TrailingJunk)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(State::member(start, packed))
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.0, State::Over) {
                State::Over => return Ok(0),
                State::Between(packed) => self.0 = after(packed)?,
                State::Member(mut member) => {
                    let read = member.read(buffer);
                    match read {
                        Ok(0) if !buffer.is_empty() => {
                            self.0 = State::Between(member.into_inner().into_inner().1);
                        }
                        read => {
                            self.0 = State::Member(member);
                            return read;
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(packed: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        // A buffer that ends anywhere in a header, or between two members.
        let small = io::BufReader::with_capacity(7, packed);
        Gunzip::new(small).read_to_string(&mut text).map(|_| text)
    }

    #[test]
    fn members_and_zeros_behind_them_are_taken() {
        let two = [packed("a"), packed("b")].concat();
        assert_eq!(unpacked(&two).unwrap(), "ab");
        for zeros in [1, 511, 1_024] {
            assert_eq!(unpacked(&[two.clone(), vec![0; zeros]].concat()).unwrap(), "ab");
        }
        assert_eq!(unpacked(&[packed(""), packed("b")].concat()).unwrap(), "b");
    }

    #[test]
    fn what_is_cut_off_and_what_follows_the_end_are_told_apart() {
        let whole = packed(&"abc".repeat(1_000));
        for end in 2..whole.len() {
            let error = unpacked(&whole[..end]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{end}: {error}");
        }
        let with = |end: &[u8]| unpacked(&[&whole, end].concat()).unwrap_err();
        for junk in [&b"junk"[..], b"\0\0junk", b"\0\x1f\x8b", b"\x1fjunk", b"\x1f\x9d\x8b"] {
            let error = with(junk);
            assert!(TrailingJunk::is_why(&error), "{junk:?}: {error}");
        }
        for start in [&b"\x1f"[..], b"\x1f\x8b", b"\x1f\x8b\x08"] {
            assert_eq!(with(start).kind(), io::ErrorKind::UnexpectedEof, "{start:?}");
        }
        let error = with(b"\x1f\x8b\x07 no method of gzip");
        assert!(error.kind() != io::ErrorKind::UnexpectedEof && !TrailingJunk::is_why(&error));
    }
}
