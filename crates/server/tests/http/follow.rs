//! Endless feeds: live, resumed, across a cutover, until one side ends them.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Events, Request, Site};

fn feed(tenant: Uuid) -> Request {
    Request::new("GET", format!("/v1/tenants/{tenant}/events"))
}

async fn seqs(events: &mut Events, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        let sent = events.next().await.unwrap();
        let document: Value = serde_json::from_str(&sent.data).unwrap();
        assert_eq!(document["seq"].to_string(), sent.id);
        seqs.push(document["seq"].as_u64().unwrap());
    }
    seqs
}

#[tokio::test]
async fn what_is_appended_is_told_and_resumed_after_the_last_id() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=2).await;
    let mut first = Events::open(&site, feed(tenant)).await;
    assert_eq!(seqs(&mut first, 2).await, [1, 2]);
    site.fill(tenant, 3..=4).await;
    assert_eq!(seqs(&mut first, 2).await, [3, 4]);
    drop(first);
    site.fill(tenant, 5..=5).await;
    let mut again = Events::open(&site, feed(tenant).header("Last-Event-ID", "3")).await;
    assert_eq!(seqs(&mut again, 2).await, [4, 5]);
    let spoiled = feed(tenant).header("Last-Event-ID", "x").header("Accept", "text/event-stream");
    site.ask(spoiled).await.problem(400, "bad_header");
    let nobody = feed(Uuid::new_v4()).header("Accept", "text/event-stream");
    site.ask(nobody).await.problem(404, "unknown_tenant");
    site.ends().await;
    assert_eq!(again.next().await, None);
}

#[tokio::test]
async fn a_server_that_stops_sends_followers_home_and_finishes_what_it_accepted() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=1).await;
    let mut followers = Vec::new();
    for _ in 0..20 {
        followers.push(Events::open(&site, feed(tenant)).await);
    }
    for follower in &mut followers {
        assert_eq!(seqs(follower, 1).await, [1]);
    }
    site.stop();
    for follower in &mut followers {
        assert_eq!(follower.next().await, None);
    }
    site.ends().await;
}

#[tokio::test]
async fn no_more_follow_than_there_is_room_for() {
    let site = Site::with(|config| {
        config.server.limits.followers_max = 2;
        config.server.limits.per_caller.followers_max = Some(2);
    });
    let (site, tenant) = (site.await, Uuid::new_v4());
    site.fill(tenant, 1..=1).await;
    let mut first = Events::open(&site, feed(tenant)).await;
    let _second = Events::open(&site, feed(tenant)).await;
    let third = || feed(tenant).header("Accept", "text/event-stream");
    let refused = site.ask(third()).await;
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(refused.problem(429, "too_many_followers")["limit"], 2);
    // Reading in parts uses no share.
    site.ask(feed(tenant)).await.is(200);
    assert_eq!(seqs(&mut first, 1).await, [1]);
    site.ends().await;
}

#[tokio::test]
async fn a_follower_and_a_writer_notice_nothing_of_a_move() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=50).await;
    let mut follower = Events::open(&site, feed(tenant)).await;
    let reading = async {
        let mut next = 1;
        while next <= 250 {
            assert_eq!(seqs(&mut follower, 1).await, [next]);
            next += 1;
        }
    };
    let writing = site.fill(tenant, 51..=150);
    let moving = async {
        let request = rehome_app::migrations::StartRequest {
            tenant: tenant.to_string().parse().unwrap(),
            target: "dedicated".parse().unwrap(),
            options: rehome_api::OptionsPatch::default(),
        };
        let id = Box::pin(site.deployment.start(&request, None)).await.unwrap().id;
        let is_over = |t: &Value| t["migration"]["state"] == json!("migrated");
        let found = site.until(&format!("/v1/tenants/{tenant}"), is_over).await;
        assert_eq!(found["migration"]["id"], id.to_string());
        assert_eq!(found["store"], "dedicated");
        site.fill(tenant, 151..=250).await;
    };
    tokio::join!(reading, async {
        tokio::join!(writing, moving);
    });
    // The first append again, now that the tenant lives elsewhere: answered as the first time.
    let path = format!("/v1/tenants/{tenant}/streams/order/o-1/events");
    let again = json!({"expected_version": 0, "events": [crate::kit::event(tenant, 1)]});
    assert_eq!(site.post(&path, &again).await.is(201)["first_seq"], 1);
    site.ends().await;
}
