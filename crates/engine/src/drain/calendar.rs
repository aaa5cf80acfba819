//! What time it is where a window is.

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rehome_domain::drain::{LocalTime, Window};
use rehome_domain::event::Timestamp;

/// A window with the rules of its time zone.
#[derive(Clone, Debug)]
pub struct Calendar {
    window: Window,
    zone: TimeZone,
}

/// An unusable window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// There is no such time zone.
    #[error(
        "unknown time zone {0:?}; use a name of the IANA database, for example \
         Europe/Berlin or UTC"
    )]
    UnknownZone(String),
    /// It will not open any more.
    #[error("the window {0} never opens again; name one in the future")]
    NeverOpens(String),
}

impl Calendar {
    /// The calendar of a window.
    pub fn of(window: &Window) -> Result<Self, WindowError> {
        let unknown = |_| WindowError::UnknownZone(window.zone().to_owned());
        let zone = TimeZone::get(window.zone()).map_err(unknown)?;
        Ok(Self { window: window.clone(), zone })
    }

    /// The calendar of a window that is open, or will open after `now`.
    pub fn still_to_come(window: &Window, now: Timestamp) -> Result<Self, WindowError> {
        let calendar = Self::of(window)?;
        if calendar.is_open(now) || calendar.next_opening(now).is_some() {
            return Ok(calendar);
        }
        Err(WindowError::NeverOpens(window.to_string()))
    }

    fn local(&self, at: Timestamp) -> Option<LocalTime> {
        let at = jiff::Timestamp::from_microsecond(at.micros()).ok()?;
        let local = self.zone.to_datetime(at);
        let day = local.date().since(EPOCH).ok()?.get_days();
        let minute = u16::try_from(local.hour()).ok()? * 60 + u16::try_from(local.minute()).ok()?;
        Some(LocalTime { day, minute })
    }

    /// Whether the window is open.
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.local(at).is_some_and(|local| self.window.is_open(local))
    }

    /// When the window opens next; `None`: never. Where clocks are put forward over an opening, it opens when
    /// they have been.
    pub fn next_opening(&self, after: Timestamp) -> Option<Timestamp> {
        self.moment(self.window.next_opening(self.local(after)?)?)
    }

    /// When it opened last, if that was within eight days.
    pub fn last_opening(&self, at: Timestamp) -> Option<Timestamp> {
        self.moment(self.window.last_opening(self.local(at)?)?)
    }

    /// Between which moments it was open last, of what has closed since and within eight days.
    pub fn last_closed(&self, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let (opened, closed) = self.window.last_closed(self.local(at)?)?;
        Some((self.moment(opened)?, self.moment(closed)?))
    }

    fn moment(&self, at: LocalTime) -> Option<Timestamp> {
        let (hour, minute) = (at.minute / 60, at.minute % 60);
        let date = EPOCH.checked_add(at.day.days()).ok()?;
        let local = date.at(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0);
        let at = self.zone.to_timestamp(local).ok()?;
        Some(Timestamp::from_micros(at.as_microsecond()))
    }
}

const EPOCH: Date = jiff::civil::date(1970, 1, 1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let at: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_micros(at.as_microsecond())
    }

    fn calendar(text: &str) -> Calendar {
        Calendar::of(&Window::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn a_window_is_kept_by_the_clock_on_the_wall_of_its_zone() {
        let berlin = calendar("Mon-Fri 01:00-05:00 Europe/Berlin");
        // A Monday in winter, and one in summer.
        assert!(!berlin.is_open(at("2026-01-04T23:59:00Z")));
        assert!(berlin.is_open(at("2026-01-05T00:00:00Z")));
        assert!(berlin.is_open(at("2026-07-05T23:00:00Z")));
        assert!(!berlin.is_open(at("2026-07-06T03:00:00Z")));
        let next = berlin.next_opening(at("2026-07-10T12:00:00Z"));
        assert_eq!(next, Some(at("2026-07-12T23:00:00Z")), "on Monday, not on Saturday");
        let last = berlin.last_closed(at("2026-07-11T12:00:00Z"));
        assert_eq!(last, Some((at("2026-07-09T23:00:00Z"), at("2026-07-10T03:00:00Z"))));
        assert_eq!(berlin.last_opening(at("2026-07-10T01:00:00Z")), last.map(|(opened, _)| opened));
    }

    #[test]
    fn an_hour_that_the_clocks_leave_out_opens_after_it() {
        // On 2026-03-29 it is never 02:30 in Berlin.
        let berlin = calendar("Sun 02:30-04:00 Europe/Berlin");
        let opening = berlin.next_opening(at("2026-03-28T12:00:00Z")).unwrap();
        assert_eq!(opening, at("2026-03-29T01:30:00Z"));
        assert!(berlin.is_open(opening));
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let nowhere = Window::parse("daily 01:00-05:00 Europe/Nowhere").unwrap();
        let refused = Calendar::of(&nowhere).unwrap_err();
        assert_eq!(refused, WindowError::UnknownZone("Europe/Nowhere".to_owned()));
        let over = Window::parse("2020-12-24 01:00-05:00 UTC").unwrap();
        let refused = Calendar::still_to_come(&over, at("2026-01-01T00:00:00Z")).unwrap_err();
        assert!(refused.to_string().contains("never opens again"), "{refused}");
        assert!(Calendar::still_to_come(&over, at("2020-12-24T04:59:00Z")).is_ok(), "it is open");
    }
}
