//! Events of a made-up shop: orders and carts, about 300 bytes of JSON each.
//!
//! Content is a function of a seed and a number, so that the expected content of an event can be
//! computed without storing it.

use std::fmt::Write as _;

use rehome_domain::event::{EventType, Json};
use uuid::Uuid;

/// The stream type of orders.
pub const ORDER: &str = "order";
/// The stream type of carts.
pub const CART: &str = "cart";

/// A small generator of numbers: SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom
/// number generators", 2014). For content, never for anything secret.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// A sequence of its own for each list of parts.
    pub fn new(parts: &[u64]) -> Self {
        let mut draw = Self(0);
        for part in parts {
            draw.0 ^= *part;
            draw.0 = draw.next();
        }
        draw
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so it is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number under `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// One of `choices`.
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or_default();
        choices[index]
    }

    /// A UUID of version 4.
    pub fn uuid(&mut self) -> Uuid {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

/// The content of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its type.
    pub event_type: EventType,
    /// Its data.
    pub data: Json,
    /// Its metadata.
    pub metadata: Json,
}

/// The content that `draw` gives for an event of a stream of this type.
pub fn content(mut draw: Draw, stream_type: &str) -> Content {
    let (event_type, data) = if stream_type == CART { cart(&mut draw) } else { order(&mut draw) };
    let metadata = format!(
        r#"{{"correlation_id":"{}","actor":"{}"}}"#,
        draw.uuid(),
        draw.of(&["web", "app", "partner", "support"])
    );
    Content {
        event_type: EventType::new(event_type).expect("a short name without NUL"),
        data: Json::trusted(data),
        metadata: Json::trusted(metadata),
    }
}

const TITLES: [&str; 8] = [
    "Walnut desk organiser",
    "Wool blanket, grey",
    "Espresso cups, set of 4",
    "Bicycle lamp, front",
    "Notebook A5, dotted",
    "Linen curtain 140 x 245",
    "Cast-iron pan 26 cm",
    "Field guide to birds",
];
const TOWNS: [&str; 8] =
    ["Lisboa", "Kraków", "Århus", "Nantes", "Graz", "Bologna", "Tartu", "Gent"];

fn order(draw: &mut Draw) -> (&'static str, String) {
    let event_type = draw.of(&["OrderPlaced", "PaymentAuthorized", "OrderPacked", "OrderShipped"]);
    let mut text = format!(r#"{{"customer":"{}","lines":["#, draw.uuid());
    let mut total = 0;
    for line in 0..=draw.below(2) {
        let (quantity, cents) = (1 + draw.below(4), 199 + draw.below(20_000));
        total += quantity * cents;
        let comma = if line == 0 { "" } else { "," };
        let _ = write!(
            text,
            r#"{comma}{{"sku":"SKU-{:05}","title":"{}","quantity":{quantity},"unit_price_cents":{cents}}}"#,
            draw.below(100_000),
            draw.of(&TITLES),
        );
    }
    let _ = write!(
        text,
        r#"],"currency":"EUR","total_cents":{total},"ship_to":{{"town":"{}","zip":"{:05}"}},"note":null}}"#,
        draw.of(&TOWNS),
        draw.below(100_000),
    );
    (event_type, text)
}

fn cart(draw: &mut Draw) -> (&'static str, String) {
    let event_type = draw.of(&["CartItemAdded", "CartItemRemoved", "CartViewed"]);
    let text = format!(
        r#"{{"session":"{}","item":{{"sku":"SKU-{:05}","title":"{}","quantity":{},"unit_price_cents":{}}},"page":"/c/{}/{}","referrer":"https://shop.example/search?q={}","screen":[{},{}]}}"#,
        draw.uuid(),
        draw.below(100_000),
        draw.of(&TITLES),
        1 + draw.below(4),
        199 + draw.below(20_000),
        draw.of(&["home", "garden", "kitchen", "travel"]),
        draw.below(10_000),
        draw.below(1_000_000),
        draw.of(&[1280, 1440, 1920, 2560]),
        draw.of(&[720, 900, 1080, 1440]),
    );
    (event_type, text)
}

#[cfg(test)]
mod tests {
    use rehome_ports::json::{JsonLimits, parse};

    use super::*;

    #[test]
    fn content_is_json_of_about_300_bytes_and_the_same_each_time() {
        let mut bytes = 0;
        for number in 0..1_000 {
            let stream_type = if number % 3 == 0 { CART } else { ORDER };
            let made = content(Draw::new(&[42, number]), stream_type);
            for text in [&made.data, &made.metadata] {
                assert_eq!(parse(text.as_str(), JsonLimits::default()).as_ref(), Ok(text));
            }
            assert_eq!(made, content(Draw::new(&[42, number]), stream_type));
            bytes += made.data.as_str().len();
        }
        assert!((250..350).contains(&(bytes / 1_000)), "{} bytes on average", bytes / 1_000);
    }

    #[test]
    fn another_seed_gives_other_content() {
        assert_ne!(content(Draw::new(&[1, 1]), ORDER), content(Draw::new(&[2, 1]), ORDER));
    }
}
