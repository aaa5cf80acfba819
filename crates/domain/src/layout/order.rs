//! In which order the columns of a tenant's rows are digested.
//!
//! A store digests the columns in an order of its own. The history of a tenant that came from a table of another layout stays
//! digested in the order of that table, with each column in the place of its counterpart, also what is appended later:
//! otherwise the digests of the two stores would differ.

use std::fmt;
use std::str::FromStr;

/// For each place of a digested row, the place of its column among the copied columns of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowOrder(Box<[usize]>);

/// The numbers do not name each column once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an order of columns that does not name each of them once")]
pub struct InvalidOrder;

impl RowOrder {
    /// An order that names each column once. `None`: it is the order of the store itself.
    pub fn new(places: Vec<usize>) -> Result<Option<Self>, InvalidOrder> {
        let mut sorted = places.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..places.len()) {
            return Err(InvalidOrder);
        }
        let is_own = places.iter().copied().eq(0..places.len());
        Ok((!is_own).then(|| Self(places.into())))
    }

    /// How many columns it is of.
    pub fn columns(&self) -> usize {
        self.0.len()
    }

    /// Values in the store's order, as they are digested.
    pub fn digested<T: Clone>(&self, own: &[T]) -> Vec<T> {
        self.0.iter().map(|&place| own[place].clone()).collect()
    }

    /// Values as they are digested, in the store's order.
    pub fn own<T>(&self, digested: Vec<T>) -> Vec<T> {
        let mut placed: Vec<(usize, T)> = self.0.iter().copied().zip(digested).collect();
        placed.sort_by_key(|(place, _)| *place);
        placed.into_iter().map(|(_, value)| value).collect()
    }
}

impl fmt::Display for RowOrder {
    /// The places from 1 on, with commas: what stores keep.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<String> = self.0.iter().map(|place| (place + 1).to_string()).collect();
        f.write_str(&places.join(","))
    }
}

impl FromStr for RowOrder {
    type Err = InvalidOrder;

    fn from_str(text: &str) -> Result<Self, InvalidOrder> {
        let place = |text: &str| text.parse::<usize>().ok()?.checked_sub(1);
        let places = text.split(',').map(place).collect::<Option<Vec<_>>>();
        Self::new(places.ok_or(InvalidOrder)?)?.ok_or(InvalidOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_goes_there_and_back() {
        let order = RowOrder::new(vec![2, 0, 1]).unwrap().unwrap();
        let own = ["a", "b", "c"];
        assert_eq!(order.digested(&own), ["c", "a", "b"]);
        assert_eq!(order.own(order.digested(&own)), own);
        assert_eq!(order.to_string(), "3,1,2");
        assert_eq!("3,1,2".parse(), Ok(order));
    }

    #[test]
    fn what_does_not_name_each_column_once_is_no_order() {
        for text in ["", "0,1", "1,1", "1,3", "2,x", "-1,2", "1,2"] {
            assert_eq!(text.parse::<RowOrder>(), Err(InvalidOrder), "{text}");
        }
        assert_eq!(RowOrder::new(vec![0, 1]), Ok(None), "the store's own");
        assert_eq!(RowOrder::new(Vec::new()), Ok(None));
    }
}
