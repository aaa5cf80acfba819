//! When cutovers may begin: days and hours in a named time zone, as data.
//!
//! What a zone is and what time it is there is not known here: callers bring [`LocalTime`]s.

use std::fmt;

const DAY: u16 = 1_440;
const NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A moment on the clock on the wall of the window's zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalTime {
    /// Days since 1970-01-01.
    pub day: i32,
    /// Minutes since midnight.
    pub minute: u16,
}

/// On which days it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Days {
    /// On these of the week; bit 0 is Monday.
    Week(u8),
    /// On this one only, in days since 1970-01-01.
    One(i32),
}

/// A window, for example `Mon-Fri 01:00-05:00 Europe/Berlin`. One that ends before it begins ends on the
/// next day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    days: Days,
    from: u16,
    to: u16,
    zone: Box<str>,
}

/// A text that is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWindow {
    /// It does not have the three parts.
    #[error(
        "write a window as \"Mon-Fri 01:00-05:00 Europe/Berlin\": days (or a date such as \
         2026-12-24), hours, and a time zone; {0:?} is not"
    )]
    Shape(String),
    /// A day of the week that is none.
    #[error(
        "{0:?} is not a day; days are Mon, Tue, Wed, Thu, Fri, Sat, Sun, lists and ranges of them, or daily"
    )]
    Day(String),
    /// A time of day that is none.
    #[error("{0:?} is not a time of day; write it as 01:00, up to 24:00")]
    Time(String),
    /// It ends when it begins.
    #[error("the window {0:?} never opens: it ends when it starts; the whole day is 00:00-24:00")]
    Empty(String),
}

impl Window {
    /// Reads a window. Whether its zone exists is not known here.
    pub fn parse(text: &str) -> Result<Self, BadWindow> {
        let mut parts = text.split_ascii_whitespace();
        let (Some(days), Some(hours), Some(zone), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadWindow::Shape(text.to_owned()));
        };
        let (from, to) = hours.split_once('-').ok_or_else(|| BadWindow::Shape(text.to_owned()))?;
        let (from, to) = (time(from)?, time(to)?);
        if from == to || from == DAY {
            return Err(BadWindow::Empty(text.to_owned()));
        }
        Ok(Self { days: read_days(days)?, from, to, zone: zone.into() })
    }

    /// The name of the time zone.
    pub fn zone(&self) -> &str {
        &self.zone
    }

    fn is_on(&self, day: i32) -> bool {
        match self.days {
            Days::Week(days) => days & (1 << weekday(day)) != 0,
            Days::One(one) => day == one,
        }
    }

    /// Whether it is open at that time in its zone.
    pub fn is_open(&self, at: LocalTime) -> bool {
        if self.from < self.to {
            self.is_on(at.day) && (self.from..self.to).contains(&at.minute)
        } else {
            self.is_on(at.day) && at.minute >= self.from
                || self.is_on(at.day - 1) && at.minute < self.to
        }
    }

    /// When it opened last, at or before that time; `None`: not within eight days. Where it does not close
    /// between two days, the later day counts.
    pub fn last_opening(&self, at: LocalTime) -> Option<LocalTime> {
        let opening = |day| LocalTime { day, minute: self.from };
        let days = (at.day - 8..=at.day).rev().filter(|day| self.is_on(*day));
        days.map(opening).find(|opening| *opening <= at)
    }

    /// When it was open last and has closed since: its opening and its end. `None`: not within eight days.
    pub fn last_closed(&self, at: LocalTime) -> Option<(LocalTime, LocalTime)> {
        let end = |day: i32| match self.to {
            to if self.from >= to => LocalTime { day: day + 1, minute: to },
            DAY => LocalTime { day: day + 1, minute: 0 },
            to => LocalTime { day, minute: to },
        };
        let days = (at.day - 8..=at.day).rev().filter(|day| self.is_on(*day));
        let spans = days.map(|day| (LocalTime { day, minute: self.from }, end(day)));
        spans.filter(|(_, end)| !self.is_open(*end)).find(|(_, end)| *end <= at)
    }

    /// When it opens next after that time; `None`: never.
    pub fn next_opening(&self, after: LocalTime) -> Option<LocalTime> {
        let opening = |day| LocalTime { day, minute: self.from };
        match self.days {
            Days::One(day) => Some(opening(day)).filter(|opening| *opening > after),
            Days::Week(_) => (after.day..=after.day + 7)
                .filter(|day| self.is_on(*day))
                .map(opening)
                .find(|opening| *opening > after),
        }
    }
}

/// 0 is Monday. 1970-01-01 was a Thursday.
const fn weekday(day: i32) -> u32 {
    (day + 3).rem_euclid(7).unsigned_abs()
}

fn time(text: &str) -> Result<u16, BadWindow> {
    let bad = || BadWindow::Time(text.to_owned());
    let (hours, minutes) = text.split_once(':').ok_or_else(bad)?;
    if hours.len() != 2 || minutes.len() != 2 {
        return Err(bad());
    }
    let number = |text: &str| text.parse::<u16>().map_err(|_| bad());
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let all = hours * 60 + minutes;
    if minutes < 60 && all <= DAY { Ok(all) } else { Err(bad()) }
}

fn read_days(text: &str) -> Result<Days, BadWindow> {
    if text.eq_ignore_ascii_case("daily") {
        return Ok(Days::Week(0x7f));
    }
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return read_date(text).map(Days::One);
    }
    let named = |name: &str| {
        let day = NAMES.iter().position(|day| day.eq_ignore_ascii_case(name));
        day.ok_or_else(|| BadWindow::Day(name.to_owned()))
    };
    let mut days = 0;
    for span in text.split(',') {
        let (first, last) = span.split_once('-').unwrap_or((span, span));
        let (mut day, last) = (named(first)?, named(last)?);
        days |= 1 << day;
        while day != last {
            day = (day + 1) % 7;
            days |= 1 << day;
        }
    }
    Ok(Days::Week(days))
}

/// Days since 1970-01-01 of a date in the Gregorian calendar (Hinnant, "chrono-compatible low-level date
/// algorithms").
fn read_date(text: &str) -> Result<i32, BadWindow> {
    let bad = || BadWindow::Day(text.to_owned());
    let mut parts = text.split('-').map(|part| part.parse::<i32>().map_err(|_| bad()));
    let mut next = || parts.next().unwrap_or_else(|| Err(bad()));
    let (year, month, day) = (next()?, next()?, next()?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=length).contains(&day)
    {
        return Err(bad());
    }
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Ok(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The date of a number of days since 1970-01-01.
fn date(days: i32) -> (i32, i32, i32) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i32::from(month <= 2), month, day)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.days {
            Days::One(days) => {
                let (year, month, day) = date(days);
                write!(f, "{year:04}-{month:02}-{day:02}")?;
            }
            Days::Week(0x7f) => f.write_str("daily")?,
            Days::Week(days) => {
                let on = |day: usize| days & (1 << (day % 7)) != 0;
                let mut first = true;
                // Spans that begin after a day on which it does not open.
                for begin in (0..7).filter(|day| on(*day) && !on(day + 6)) {
                    let length = (1..7).take_while(|more| on(begin + more)).count();
                    let (comma, from) = (if first { "" } else { "," }, NAMES[begin]);
                    first = false;
                    match length {
                        0 => write!(f, "{comma}{from}")?,
                        _ => write!(f, "{comma}{from}-{}", NAMES[(begin + length) % 7])?,
                    }
                }
            }
        }
        let (from, to) = (self.from, self.to);
        write!(f, " {:02}:{:02}-{:02}:{:02} {}", from / 60, from % 60, to / 60, to % 60, self.zone)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(day: i32, hour: u16, minute: u16) -> LocalTime {
        LocalTime { day, minute: hour * 60 + minute }
    }

    // 1970-01-05 was a Monday.
    const MONDAY: i32 = 4;

    #[test]
    fn it_opens_on_its_days_and_hours() {
        let window = Window::parse("Mon-Fri 01:00-05:00 Europe/Berlin").unwrap();
        assert_eq!(window.zone(), "Europe/Berlin");
        for (time, open) in [
            (at(MONDAY, 0, 59), false),
            (at(MONDAY, 1, 0), true),
            (at(MONDAY, 4, 59), true),
            (at(MONDAY, 5, 0), false),
            (at(MONDAY + 4, 1, 0), true),
            (at(MONDAY + 5, 1, 0), false),
        ] {
            assert_eq!(window.is_open(time), open, "{time:?}");
        }
        assert_eq!(window.next_opening(at(MONDAY, 1, 0)), Some(at(MONDAY + 1, 1, 0)));
        assert_eq!(window.next_opening(at(MONDAY + 4, 6, 0)), Some(at(MONDAY + 7, 1, 0)));
    }

    #[test]
    fn one_that_ends_before_it_begins_ends_on_the_next_day() {
        let window = Window::parse("Sat 22:00-02:30 UTC").unwrap();
        let saturday = MONDAY + 5;
        assert!(!window.is_open(at(saturday, 1, 0)));
        assert!(window.is_open(at(saturday, 22, 0)));
        assert!(window.is_open(at(saturday + 1, 2, 29)));
        assert!(!window.is_open(at(saturday + 1, 2, 30)));
    }

    #[test]
    fn what_was_open_last_is_known_once_it_has_closed() {
        let window = Window::parse("Mon-Fri 01:00-05:00 Europe/Berlin").unwrap();
        let monday = (at(MONDAY, 1, 0), at(MONDAY, 5, 0));
        assert_eq!(window.last_closed(at(MONDAY, 5, 0)), Some(monday));
        assert_eq!(
            window.last_closed(at(MONDAY + 1, 4, 59)),
            Some(monday),
            "today's is still open"
        );
        assert_eq!(window.last_opening(at(MONDAY + 1, 4, 59)), Some(at(MONDAY + 1, 1, 0)));
        let friday = (at(MONDAY + 4, 1, 0), at(MONDAY + 4, 5, 0));
        assert_eq!(window.last_closed(at(MONDAY + 7, 0, 59)), Some(friday));
        let night = Window::parse("Sat 22:00-02:30 UTC").unwrap();
        let saturday = (at(MONDAY + 5, 22, 0), at(MONDAY + 6, 2, 30));
        let before = (at(MONDAY - 2, 22, 0), at(MONDAY - 1, 2, 30));
        assert_eq!(
            night.last_closed(at(MONDAY + 6, 2, 29)),
            Some(before),
            "this week's is still open"
        );
        assert_eq!(night.last_closed(at(MONDAY + 6, 2, 30)), Some(saturday));
        let always = Window::parse("daily 00:00-24:00 UTC").unwrap();
        assert_eq!(always.last_closed(at(MONDAY, 12, 0)), None, "it never closes");
        assert_eq!(always.last_opening(at(MONDAY, 12, 0)), Some(at(MONDAY, 0, 0)));
    }

    #[test]
    fn a_date_that_is_over_never_opens_again() {
        let window = Window::parse("2026-12-24 01:00-05:00 UTC").unwrap();
        assert_eq!(window.to_string(), "2026-12-24 01:00-05:00 UTC");
        let opening = window.next_opening(at(0, 0, 0)).unwrap();
        assert!(window.is_open(opening));
        assert_eq!(window.next_opening(opening), None);
    }

    #[test]
    fn what_is_no_window_is_refused_with_what_would_be_one() {
        for (text, part) in [
            ("", "write a window as"),
            ("Mon-Fri 01:00-05:00", "write a window as"),
            ("Mon-Fri 01:00-05:00 Europe/Berlin now", "write a window as"),
            ("Mon-Fry 01:00-05:00 UTC", "\"Fry\" is not a day"),
            ("2026-02-29 01:00-05:00 UTC", "is not a day"),
            ("2100-02-29 01:00-05:00 UTC", "is not a day"),
            ("2026-04-31 01:00-05:00 UTC", "is not a day"),
            ("2026-01-32 01:00-05:00 UTC", "is not a day"),
            ("2026-13-01 01:00-05:00 UTC", "is not a day"),
            ("2026-00-01 01:00-05:00 UTC", "is not a day"),
            ("1969-12-31 01:00-05:00 UTC", "is not a day"),
            ("Mon 1:00-05:00 UTC", "not a time of day"),
            ("Mon 01:0-05:00 UTC", "not a time of day"),
            ("Mon 01:00-04:60 UTC", "not a time of day"),
            ("Mon 01:00-24:01 UTC", "not a time of day"),
            ("Mon 01:00-01:00 UTC", "never opens"),
            ("Mon 24:00-01:00 UTC", "never opens"),
        ] {
            let refused = Window::parse(text).unwrap_err().to_string();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }

    #[test]
    fn a_date_is_the_day_that_the_calendar_has() {
        // Days since 1970-01-01 as `date -u -d DATE +%s` has them, divided by 86,400.
        for (day, days) in [
            ("1970-01-01", 0),
            ("1999-12-31", 10_956),
            ("2000-02-29", 11_016),
            ("2000-03-01", 11_017),
            ("2026-12-24", 20_811),
            ("2100-02-28", 47_540),
            ("2100-03-01", 47_541),
            ("2400-02-29", 157_113),
        ] {
            let text = format!("{day} 01:00-05:00 UTC");
            let window = Window::parse(&text).unwrap();
            assert_eq!(window.days, Days::One(days), "{day}");
            assert_eq!(window.to_string(), text);
        }
    }

    #[test]
    fn a_day_that_is_named_twice_is_one_day() {
        for (text, written) in [
            ("Mon-Wed,Tue-Thu", "Mon-Thu"),
            ("Fri,Fri", "Fri"),
            ("Sat-Mon", "Sat-Mon"),
            ("DAILY", "daily"),
            ("mon,WED", "Mon,Wed"),
        ] {
            let window = Window::parse(&format!("{text} 01:00-05:00 UTC")).unwrap();
            assert_eq!(window.to_string(), format!("{written} 01:00-05:00 UTC"));
        }
    }

    #[test]
    fn what_opens_once_a_week_opens_again_in_a_week() {
        // 1970-01-01 was a Thursday.
        let window = Window::parse("Thu 01:00-05:00 UTC").unwrap();
        assert_eq!(window.next_opening(at(0, 0, 59)), Some(at(0, 1, 0)));
        assert_eq!(window.next_opening(at(0, 1, 0)), Some(at(7, 1, 0)));
    }

    #[test]
    fn a_week_ago_is_not_too_long_ago() {
        let window = Window::parse("Mon 01:00-05:00 UTC").unwrap();
        let before = at(MONDAY - 7, 1, 0);
        assert_eq!(window.last_opening(at(MONDAY, 0, 59)), Some(before));
        let closed = (before, at(MONDAY - 7, 5, 0));
        assert_eq!(window.last_closed(at(MONDAY, 4, 59)), Some(closed));
        let night = Window::parse("Mon 22:00-02:00 UTC").unwrap();
        let closed = (at(MONDAY - 7, 22, 0), at(MONDAY - 6, 2, 0));
        assert_eq!(night.last_closed(at(MONDAY + 1, 1, 59)), Some(closed));
        // A date is no weekday.
        let once = Window { days: Days::One(MONDAY), ..window };
        assert_eq!(once.last_opening(at(MONDAY + 8, 1, 0)), Some(at(MONDAY, 1, 0)));
        assert_eq!(once.last_opening(at(MONDAY + 9, 1, 0)), None);
        assert_eq!(
            once.last_closed(at(MONDAY + 8, 1, 0)),
            Some((at(MONDAY, 1, 0), at(MONDAY, 5, 0)))
        );
        assert_eq!(once.last_closed(at(MONDAY + 9, 1, 0)), None);
    }

    #[test]
    fn every_moment_of_all_days_is_open() {
        let window = Window::parse("daily 00:00-24:00 UTC").unwrap();
        assert!(
            (0..14).all(|day| (0..DAY).all(|minute| window.is_open(LocalTime { day, minute })))
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(days in 1_u8..=0x7f, from in 0..DAY, to in 1..=DAY) {
            prop_assume!(from != to);
            let window = Window { days: Days::Week(days), from, to, zone: "UTC".into() };
            prop_assert_eq!(Window::parse(&window.to_string()), Ok(window));
        }

        #[test]
        fn a_date_is_read_again(days in 0..2_000_000_i32) {
            let window = Window { days: Days::One(days), from: 1, to: 2, zone: "UTC".into() };
            prop_assert_eq!(Window::parse(&window.to_string()), Ok(window));
        }

        #[test]
        fn it_is_closed_until_it_opens_next_and_open_then(
            days in 1_u8..=0x7f, from in 0..DAY, to in 1..=DAY, day in 0..1_000_i32, minute in 0..DAY,
        ) {
            prop_assume!(from != to);
            let window = Window { days: Days::Week(days), from, to, zone: "UTC".into() };
            let now = LocalTime { day, minute };
            let next = window.next_opening(now).unwrap();
            prop_assert!(window.is_open(next) && next > now);
            if !window.is_open(now) {
                let mut at = now;
                while at < next {
                    prop_assert!(!window.is_open(at), "{:?}", at);
                    at = if at.minute + 1 < DAY {
                        LocalTime { minute: at.minute + 1, ..at }
                    } else {
                        LocalTime { day: at.day + 1, minute: 0 }
                    };
                }
            }
        }
    }
}
