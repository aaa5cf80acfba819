//! A key in a file, by which exported lines and messages to applications are signed.

use std::fmt;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rehome_domain::digest::Digest;
use rehome_ports::private::wider;
use sha2::Sha256;

use crate::error::{AppError, Kind};

/// Fewest bytes of a key: as many as the hash has.
const BYTES_MIN: usize = 32;
/// Most bytes of a key's file.
const BYTES_MAX: usize = 4_096;

/// The key. Never shown.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// Reads the file that this setting names, all of it but a line end.
    pub fn read(setting: &str, path: &Path) -> Result<Self, AppError> {
        let refuse = |why: String| {
            let message = format!("{setting}: {} {why}", path.display());
            AppError::new(Kind::Usage, "bad_key", message)
        };
        let bytes =
            std::fs::read(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
        // A key that others know signs nothing.
        if let Some(wide) = wider(path) {
            return Err(refuse(format!("is no key: {wide}")));
        }
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        if !(BYTES_MIN..=BYTES_MAX).contains(&bytes.len()) {
            return Err(refuse(format!(
                "must hold {BYTES_MIN} to {BYTES_MAX} bytes, for example of `openssl rand -hex 32`"
            )));
        }
        let mac = Hmac::new_from_slice(bytes).map_err(|error| refuse(error.to_string()))?;
        Ok(Self(mac))
    }

    /// The signature of these bytes, one after the other: HMAC with SHA-256 (RFC 2104), in hexadecimal
    /// digits.
    pub fn sign(&self, parts: &[&[u8]]) -> String {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        Digest::new(mac.finalize().into_bytes().into()).to_string()
    }
}
