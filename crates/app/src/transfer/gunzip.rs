//! gzip as gunzip accepts it: any number of members, and zeros behind the last one, with which tapes and
//! block devices pad. Anything else behind it is an error.

use std::io::{self, BufRead, Read};

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

/// Unpacks a file, member by member.
pub(super) struct Gunzip<R>(State<R>);

enum State<R> {
    Member(GzDecoder<R>),
    /// Behind a member.
    Between(R),
    /// At the end, or broken.
    Over,
}

impl<R: BufRead> Gunzip<R> {
    pub(super) fn new(packed: R) -> Self {
        Self(State::Member(GzDecoder::new(packed)))
    }
}

/// What comes behind a member: another one, the end, or what must not be there.
fn after<R: BufRead>(mut packed: R) -> io::Result<State<R>> {
    let mut filling = false;
    loop {
        let found = match packed.fill_buf() {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let zeros = found.iter().take_while(|byte| **byte == 0).count();
        match found.get(zeros) {
            None if found.is_empty() => return Ok(State::Over),
            None => {}
            Some(0x1f) if zeros == 0 && !filling => {
                return Ok(State::Member(GzDecoder::new(packed)));
            }
            Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, TrailingJunk)),
        }
        filling = true;
        packed.consume(zeros);
    }
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
                        Ok(0) if !buffer.is_empty() => self.0 = State::Between(member.into_inner()),
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
        for junk in [&b"junk"[..], b"\0\0junk", b"\0\x1f\x8b"] {
            let error = unpacked(&[whole.clone(), junk.to_vec()].concat()).unwrap_err();
            assert!(TrailingJunk::is_why(&error), "{error}");
        }
    }
}
