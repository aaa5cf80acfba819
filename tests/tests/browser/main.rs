//! The console in a real browser: Chromium, driven through its WebDriver.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

mod harness;
mod looks;

use fantoccini::Locator;
use harness::{OPERATOR, Site, VIEWER};

#[tokio::test]
async fn an_operator_moves_a_tenant_without_a_manual() {
    let site = Site::open(3_000);
    let page = site.browse(OPERATOR).await;
    page.goto("/").await;
    page.click_link("Move a tenant").await;
    page.fill("tenant", &site.tenant).await;
    page.choose("to", "dedicated").await;
    page.choose("cutover", "manual").await;
    page.fill("rate", "150").await;
    page.fill("window", "1h").await;
    page.press("See the plan").await;
    page.shows("What will happen").await;
    page.fill("reason", "a bigger machine").await;
    page.press("Start the migration").await;
    page.shows("The history is being copied. Writes go to shared.").await;
    page.shows("acts: a bigger machine").await;

    // The numbers move by themselves: the page was not loaded again.
    page.run("document.body.dataset.mark = 'same page'").await;
    let before = page.number_of("#numbers progress").await;
    page.until("the numbers move", async || page.number_of("#numbers progress").await > before)
        .await;
    page.until("a chart is drawn", async || page.has("figure.chart polyline").await).await;
    assert_eq!(page.value("return document.body.dataset.mark").await, "same page");
    page.shot("migration-copying").await;

    page.click_link("Change the options").await;
    page.fill("rate", "0").await;
    page.press("Change the options").await;
    page.shows("New writes are mirrored to dedicated").await;
    page.shows("no violation").await;

    page.click_link("Switch now").await;
    page.shows("Writers wait for a few milliseconds").await;
    page.shot("confirm-cutover").await;
    page.press("Switch now").await;
    page.shows("Done. Writes go to dedicated.").await;
    page.until("the pause is told", async || page.text("#cutovers").await.contains(" ms")).await;
    page.shot("migration-done").await;
    page.click_link("Overview").await;
    page.shows("migrated").await;
    page.shot("overview").await;
    page.close().await;
}

#[tokio::test]
async fn an_abort_says_what_it_will_do_and_an_action_that_came_too_late_is_refused() {
    let site = Site::open(500);
    let page = site.browse(OPERATOR).await;
    let migration = page.start(&site, "0").await;
    page.shows("New writes are mirrored to dedicated").await;
    // Another operator's page, opened before.
    let late = site.browse(OPERATOR).await;
    late.goto(&format!("/console{migration}/cutover")).await;

    page.click_link("Abort").await;
    page.shows("cannot be resumed").await;
    page.run("document.querySelector('input[name=purge]').click()").await;
    page.press("Abort").await;
    page.shows("Aborted. Writes go to shared.").await;

    late.press("Switch now").await;
    late.shows("Not possible now").await;
    late.shot("refused").await;
    late.click_link("Back").await;
    late.shows("Aborted. Writes go to shared.").await;
    late.close().await;
    page.close().await;
}

#[tokio::test]
async fn a_viewer_sees_everything_and_no_buttons() {
    let site = Site::open(500);
    let operator = site.browse(OPERATOR).await;
    let migration = operator.start(&site, "0").await;
    let page = site.browse(VIEWER).await;
    page.goto(&migration).await;
    page.shows("New writes are mirrored to dedicated").await;
    assert!(!page.has("#actions a").await && !page.has("a[href='/console/start']").await);
    page.goto(&format!("/console{migration}/pause")).await;
    page.press("Pause").await;
    page.shows("is read-only").await;
    page.goto(&migration).await;
    page.shows("New writes are mirrored to dedicated").await;
    operator.close().await;
    page.close().await;
}

#[tokio::test]
async fn a_page_whose_server_is_gone_says_so() {
    let site = Site::open(100);
    let page = site.browse(VIEWER).await;
    page.goto("/").await;
    page.until("it is live", async || page.text("#live").await == "Live").await;
    site.stop_server();
    page.until("it is stale", async || page.text("#live").await.starts_with("Not live")).await;
    assert!(page.has("body.stale").await);
    page.close().await;
}

#[tokio::test]
async fn the_keyboard_reaches_everything_and_no_page_is_wider_than_a_phone() {
    let site = Site::open(300);
    let page = site.browse(OPERATOR).await;
    let migration = page.start(&site, "0").await;
    page.shows("New writes are mirrored to dedicated").await;
    page.resize(390, 844).await;
    let pages = [
        "/".to_owned(),
        migration.clone(),
        format!("/console{migration}/cutover"),
        "/console/start".to_owned(),
    ];
    for path in &pages {
        page.goto(path).await;
        page.shot(&format!("phone{}", path.replace(['/', '-'], "_"))).await;
        let wider = "return document.documentElement.scrollWidth > window.innerWidth";
        assert_eq!(page.value(wider).await, false, "{path} is wider than the screen");
        // Whatever can be used has a name for those who do not see it.
        let nameless = "return [...document.querySelectorAll('a, button, input, select')].filter((e) => \
            e.type !== 'hidden' && !(e.textContent.trim() || e.closest('label') || e.ariaLabel)).length";
        assert_eq!(page.value(nameless).await, 0, "{path}");
        let headings = "return document.querySelectorAll('h1').length";
        assert_eq!(page.value(headings).await, 1, "{path}");
    }
    page.goto("/").await;
    let body = page.client().find(Locator::Css("body")).await.unwrap();
    body.send_keys("\u{e004}").await.unwrap();
    assert_eq!(page.value("return document.activeElement.textContent").await, "Skip to content");
    page.close().await;
}
