//! What the writers noted against the rows that are there.

use std::collections::HashMap;

use rehome_domain::ids::TenantId;
use rehome_engine::verifier::Report;
use rehome_ports::{BatchLimit, LedgerStore};

use super::journal::Journal;
use super::plain::{Plain, PlainEvent};
use super::writers::{event, stream};
use crate::load::LoadId;
use crate::load::check::Checked;
use crate::load::history::Wanted;
use crate::load::record::{Outcome, Record, WriterRecord};
use crate::quickstart::QuickstartOptions;
use crate::quickstart::folder::Folder;
use crate::quickstart::journey::Journey;
use crate::quickstart::verdict::{self, Verdict};
use rehome_app::error::AppError;
use rehome_app::{Config, Deployment};

/// Maximum number of findings with a description.
const EXAMPLES_MAX: usize = 10;

#[allow(clippy::too_many_arguments, reason = "each is named once")]
pub(super) async fn judge(
    deployment: &Deployment,
    folder: &Folder,
    config: &Config,
    options: &QuickstartOptions,
    moving: Wanted,
    journeys: &[Journey],
    journals: &[Journal],
    verification: Report,
) -> Result<Verdict, AppError> {
    let last = journeys
        .last()
        .ok_or_else(|| AppError::failed("not_migrated", "no migration was started"))?;
    let migration = deployment.engine().control().migration(last.id).await?;
    let home = deployment.store(&migration.target)?;
    let plain = Plain::open(config, migration.target.as_str(), &moving.tenant.to_string()).await?;
    let rows = plain.events().await?;
    let checked = check(&rows, options.seed, moving.events, journals);
    let record = record(&**home, moving.tenant, options.seed, journals).await?;
    verdict::tell(deployment, folder, options, moving, journeys, &record, checked, verification)
        .await
}

/// The rows of the tenant, in the order of their positions, against what the writers noted.
fn check(rows: &[PlainEvent], seed: u64, before: u64, journals: &[Journal]) -> Checked {
    let streams: HashMap<String, usize> =
        (0..journals.len()).map(|writer| (stream(seed, writer as u64), writer)).collect();
    let mut found = Checked { events_read: rows.len() as u64, ..Checked::default() };
    let mut seen: Vec<u64> = vec![0; journals.len()];
    let mut old = 0;
    let say = |found: &mut Checked, what: String| {
        if found.examples.len() < EXAMPLES_MAX {
            found.examples.push(what);
        }
    };
    for row in rows {
        let Some(writer) = streams.get(&row.stream).copied() else {
            old += 1;
            continue;
        };
        let version = row.version.unsigned_abs();
        let expected = seen[writer] + 1;
        let what = format!("version {version} of writer {writer}");
        if version < expected {
            found.duplicated += 1;
            say(&mut found, format!("{what} appears twice, or late"));
        } else if version > expected {
            found.gaps += version - expected;
            say(&mut found, format!("{what} is in the place of version {expected}"));
        }
        seen[writer] = seen[writer].max(version);
        if version > journals[writer].appends.len() as u64 {
            found.unexpected += 1;
            say(&mut found, format!("{what} was never sent"));
        } else if *row != event(seed, writer as u64, row.version, &row.at) {
            found.altered += 1;
            say(&mut found, format!("{what} differs from the sent event"));
        }
    }
    for (writer, journal) in journals.iter().enumerate() {
        let acked = journal.appends.iter().filter(|sent| sent.ack().is_some());
        let last = acked.map(|sent| sent.first).max().unwrap_or_default();
        found.acked += journal.acked();
        if last > seen[writer] {
            found.lost += last - seen[writer];
            let had = seen[writer];
            say(
                &mut found,
                format!("writer {writer} got acknowledgements for {last} events, {had} are stored"),
            );
        }
        found.refused += journal.strange.len() as u64;
        for words in journal.strange.iter().take(EXAMPLES_MAX) {
            say(&mut found, format!("writer {writer} was refused: {words}"));
        }
    }
    if old != before {
        let more = old.saturating_sub(before);
        found.unexpected += more;
        found.lost += before.saturating_sub(old);
        say(&mut found, format!("{old} of the {before} events from before the writers are stored"));
    }
    found
}

/// The writers' record with the numbers that their events have got, by which a cutover's cost is read out of it.
async fn record(
    home: &dyn LedgerStore,
    tenant: TenantId,
    seed: u64,
    journals: &[Journal],
) -> Result<Record, AppError> {
    let streams: HashMap<String, usize> =
        (0..journals.len()).map(|writer| (stream(seed, writer as u64), writer)).collect();
    let mut writers: Vec<WriterRecord> =
        journals.iter().map(|journal| WriterRecord { appends: journal.appends.clone() }).collect();
    let mut after = 0;
    loop {
        let page = home.read_feed(tenant, after, BatchLimit::PAGE).await?.events;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for event in &page {
            let Some(writer) = streams.get(event.stream.stream_id()) else { continue };
            let place = usize::try_from(event.version.saturating_sub(1)).unwrap_or(usize::MAX);
            if let Some(sent) = writers[*writer].appends.get_mut(place)
                && let Outcome::Acked(ack) = &mut sent.outcome
            {
                ack.first_seq = event.seq;
            }
        }
    }
    Ok(Record { id: LoadId::random(), tenant, seed, writers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::record::{Ack, Sent, StreamRef};

    const SEED: u64 = 7;

    fn journal(acked: u64, open: bool) -> Journal {
        let sent = |first: u64, outcome| Sent {
            first,
            events: 1,
            stream: StreamRef { shared: false, number: 0 },
            sent_at: 0,
            outcome,
        };
        let ack = |first| Ack { at: 1, first_version: first, first_seq: 0, contiguous: true };
        let mut appends: Vec<_> = (1..=acked).map(|n| sent(n, Outcome::Acked(ack(n)))).collect();
        if open {
            appends.push(sent(acked + 1, Outcome::Open));
        }
        let mut journal = Journal::default();
        journal.appends = appends;
        journal
    }

    fn rows(versions: &[i64]) -> Vec<PlainEvent> {
        versions.iter().map(|version| event(SEED, 0, *version, "t")).collect()
    }

    #[test]
    fn what_is_wrong_is_found() {
        let found = |rows: &[PlainEvent], before| check(rows, SEED, before, &[journal(3, true)]);
        assert!(found(&rows(&[1, 2, 3]), 0).is_clean());
        assert!(found(&rows(&[1, 2, 3, 4]), 0).is_clean(), "the last one was never answered");
        assert_eq!(found(&rows(&[1, 2]), 0).lost, 1);
        assert_eq!(found(&rows(&[1, 2, 2, 3]), 0).duplicated, 1);
        assert_eq!(found(&rows(&[1, 3]), 0).gaps, 1);
        assert_eq!(found(&rows(&[1, 2, 3, 4, 5]), 0).unexpected, 1);
        assert_eq!(found(&rows(&[1, 2, 3]), 1).lost, 1);
        let mut changed = rows(&[1, 2, 3]);
        changed[1].payload.push(' ');
        assert_eq!(found(&changed, 0).altered, 1);
        let mut strange = journal(3, false);
        strange.strange.push("UNIQUE constraint failed".to_owned());
        assert_eq!(check(&rows(&[1, 2, 3]), SEED, 0, &[strange]).refused, 1);
    }
}
