//! What columns are called.

/// Names without what separates their words, the likeliest first.
pub(super) const TENANT_WORDS: &[&str] = &[
    "tenantid",
    "tenant",
    "tenantkey",
    "tenantuuid",
    "accountid",
    "account",
    "organizationid",
    "organisationid",
    "organization",
    "organisation",
    "orgid",
    "org",
    "workspaceid",
    "workspace",
    "companyid",
    "company",
    "customerid",
    "customer",
    "shopid",
    "shop",
    "clientid",
    "client",
];
pub(super) const VERSION_WORDS: &[&str] = &[
    "version",
    "streamversion",
    "aggregateversion",
    "originatorversion",
    "streamposition",
    "streamrevision",
    "revision",
    "sequencenumber",
    "sequenceno",
    "eventnumber",
    "aggregatesequence",
    "sequence",
    "seq",
    "position",
    "no",
    "number",
];
pub(super) const STREAM_WORDS: &[&str] = &[
    "streamid",
    "aggregateid",
    "aggregateidentifier",
    "streamname",
    "stream",
    "originatorid",
    "entityid",
    "aggregate",
    "entity",
    "rootid",
    "subjectid",
    "sourceid",
];
pub(super) const STREAM_TYPE_WORDS: &[&str] = &[
    "streamtype",
    "aggregatetype",
    "entitytype",
    "originatortype",
    "streamcategory",
    "category",
    "aggregatename",
    "streamkind",
    "aggregatekind",
    // Where the type of the event has another column.
    "type",
];
pub(super) const POSITION_WORDS: &[&str] = &[
    "globalposition",
    "globalsequence",
    "position",
    "notificationid",
    "seqid",
    "globalseq",
    "globalindex",
    "sequencenumber",
    "sequence",
    "ordering",
    "offset",
    "id",
];
pub(super) const EVENT_ID_WORDS: &[&str] = &["eventid", "messageid", "id", "eventuuid", "uuid"];
pub(super) const EVENT_TYPE_WORDS: &[&str] = &[
    "eventtype",
    "messagetype",
    "payloadtype",
    "type",
    "eventname",
    "topic",
    "eventkind",
    "kind",
    "name",
    "what",
    "action",
    "event",
];
pub(super) const OCCURRED_WORDS: &[&str] = &[
    "occurredat",
    "occurredon",
    "timestamp",
    "eventtime",
    "happenedat",
    "occurred",
    "time",
    "at",
    "date",
    "eventdate",
];
pub(super) const RECORDED_WORDS: &[&str] = &[
    "recordedat",
    "createdat",
    "insertedat",
    "storedat",
    "created",
    "recorded",
    "inserted",
    "createdon",
];
pub(super) const DATA_WORDS: &[&str] = &[
    "data",
    "payload",
    "eventdata",
    "body",
    "messagedata",
    "content",
    "state",
    "event",
    "message",
];
pub(super) const METADATA_WORDS: &[&str] =
    &["metadata", "meta", "headers", "messagemetadata", "eventmetadata", "context"];

/// Whether a name is one of these, whatever separates its words.
pub(super) fn has_word(name: &str, words: &[&str]) -> bool {
    words.contains(&plain(name).as_str())
}

pub(super) fn plain(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
