//! The tokens of the configuration.

use rehome_app::tokens::{Token, TokenHash};

/// The tokens of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Vec<Token>);

impl Tokens {
    pub(crate) fn new(tokens: &[Token]) -> Self {
        Self(tokens.to_vec())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares all of them, whichever matches, so that the time reveals nothing.
    pub(super) fn find(&self, hash: &TokenHash) -> Option<&Token> {
        self.0.iter().fold(
            None,
            |found, token| {
                if token.hash.matches(hash) { Some(token) } else { found }
            },
        )
    }
}
