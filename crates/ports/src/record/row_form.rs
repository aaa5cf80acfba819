//! The columns of rows that stores with rehome's own tables keep.

use rehome_domain::layout::{ColumnKind, FormColumn, Part, RowForm, Texts};
use serde::{Deserialize, Serialize};

use super::{Unreadable, unreadable, write};

const WHAT: &str = "columns of kept rows";

#[derive(Serialize, Deserialize)]
struct RowFormRecord {
    texts: TextsRecord,
    columns: Vec<ColumnRecord>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TextsRecord {
    Postgresql,
    AsPostgresql,
    Sqlite,
}

#[derive(Serialize, Deserialize)]
struct ColumnRecord {
    name: String,
    kind: KindRecord,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<PartRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindRecord {
    /// One of those with a name.
    Named(String),
    Other(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PartRecord {
    Tenant,
    TenantUnder(String),
    TenantBefore(String),
    StreamType,
    StreamId(usize),
    Version(u8),
    EventId,
    EventType,
    OccurredAt,
    RecordedAt,
    Data,
    Metadata,
}

/// The text of the columns of a tenant's kept rows.
pub fn write_row_form(form: &RowForm) -> String {
    let texts = match form.texts {
        Texts::Postgresql => TextsRecord::Postgresql,
        Texts::AsPostgresql => TextsRecord::AsPostgresql,
        Texts::Sqlite => TextsRecord::Sqlite,
    };
    let column = |column: &FormColumn| ColumnRecord {
        name: column.name.clone(),
        kind: match &column.kind {
            ColumnKind::Other(name) => KindRecord::Other(name.clone()),
            named => KindRecord::Named(named.to_string()),
        },
        parts: column.parts.iter().map(part_record).collect(),
    };
    write(&RowFormRecord { texts, columns: form.columns.iter().map(column).collect() })
}

/// The columns from their text.
pub fn read_row_form(text: &str) -> Result<RowForm, Unreadable> {
    let record: RowFormRecord =
        serde_json::from_str(text).map_err(|error| unreadable(WHAT, error))?;
    let texts = match record.texts {
        TextsRecord::Postgresql => Texts::Postgresql,
        TextsRecord::AsPostgresql => Texts::AsPostgresql,
        TextsRecord::Sqlite => Texts::Sqlite,
    };
    let column = |column: ColumnRecord| {
        let kind = match column.kind {
            KindRecord::Other(name) => ColumnKind::Other(name),
            KindRecord::Named(name) => name.parse().map_err(|error| unreadable(WHAT, error))?,
        };
        let parts = column.parts.into_iter().map(part).collect();
        Ok(FormColumn { name: column.name, kind, parts })
    };
    let columns = record.columns.into_iter().map(column).collect::<Result<_, _>>()?;
    Ok(RowForm { texts, columns })
}

fn part_record(part: &Part) -> PartRecord {
    match part {
        Part::Tenant => PartRecord::Tenant,
        Part::TenantUnder(key) => PartRecord::TenantUnder(key.clone()),
        Part::TenantBefore(separator) => PartRecord::TenantBefore(separator.clone()),
        Part::StreamType => PartRecord::StreamType,
        Part::StreamId(place) => PartRecord::StreamId(*place),
        Part::Version(first) => PartRecord::Version(*first),
        Part::EventId => PartRecord::EventId,
        Part::EventType => PartRecord::EventType,
        Part::OccurredAt => PartRecord::OccurredAt,
        Part::RecordedAt => PartRecord::RecordedAt,
        Part::Data => PartRecord::Data,
        Part::Metadata => PartRecord::Metadata,
    }
}

fn part(record: PartRecord) -> Part {
    match record {
        PartRecord::Tenant => Part::Tenant,
        PartRecord::TenantUnder(key) => Part::TenantUnder(key),
        PartRecord::TenantBefore(separator) => Part::TenantBefore(separator),
        PartRecord::StreamType => Part::StreamType,
        PartRecord::StreamId(place) => Part::StreamId(place),
        PartRecord::Version(first) => Part::Version(first),
        PartRecord::EventId => Part::EventId,
        PartRecord::EventType => Part::EventType,
        PartRecord::OccurredAt => Part::OccurredAt,
        PartRecord::RecordedAt => Part::RecordedAt,
        PartRecord::Data => Part::Data,
        PartRecord::Metadata => Part::Metadata,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_as_they_were_written() {
        let column = |name: &str, kind, parts: &[Part]| FormColumn {
            name: name.to_owned(),
            kind,
            parts: parts.to_vec(),
        };
        let all = [
            Part::Tenant,
            Part::TenantUnder("key \"of\" it".to_owned()),
            Part::TenantBefore("-".to_owned()),
            Part::StreamType,
            Part::StreamId(2),
            Part::Version(1),
            Part::EventId,
            Part::EventType,
            Part::OccurredAt,
            Part::RecordedAt,
            Part::Data,
            Part::Metadata,
        ];
        for texts in [Texts::Postgresql, Texts::AsPostgresql, Texts::Sqlite] {
            let columns = vec![
                column("Über \"alles\"", ColumnKind::Other("numeric(3, 1)".to_owned()), &[]),
                // A type that is called as a kind is, and is none.
                column("b", ColumnKind::Other("text".to_owned()), &all[..1]),
                column("c", ColumnKind::Json, &all),
            ];
            let form = RowForm { texts, columns };
            assert_eq!(read_row_form(&write_row_form(&form)), Ok(form));
        }
        let kept = "{\"texts\":\"postgresql\",\"columns\":[{\"name\":\"a\",\"kind\":{\"named\":\"uuid\"},\
            \"parts\":[\"tenant\",{\"stream_id\":0}]}]}";
        let form = read_row_form(kept).unwrap();
        assert_eq!(
            form.columns,
            [column("a", ColumnKind::Uuid, &[Part::Tenant, Part::StreamId(0)])]
        );
        assert_eq!(write_row_form(&form), kept, "what stores have");
        assert!(read_row_form("{}").is_err());
    }
}
