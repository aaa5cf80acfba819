//! How the pages look and read: to those who see them, who do not, and who look at night.

use fantoccini::actions::{InputSource, MouseActions, PointerAction};
use fantoccini::{Client, Locator};

use crate::harness::{OPERATOR, Page, Site};

/// Pages of a deployment with one tenant and one migration; `{migration}` is its path.
const PAGES: [&str; 14] = [
    "/",
    "/migrations",
    "/migrations?search=00000000",
    "/drains",
    "/tenants",
    "/tenants/{tenant}",
    "/console/start",
    "/console/runbook",
    "/console/login",
    "/nowhere",
    "{migration}",
    "/console{migration}/cutover",
    "/console{migration}/tune",
    "/console/checklists/{id}",
];

/// Pages that no address above opens: a stream, a fragment of another page, and the page of a drain.
const ELSEWHERE: [&str; 3] = ["/console/live", "/console/plan", "/drains/{id}"];

#[test]
fn every_page_of_the_console_is_looked_at() {
    let routes = include_str!("../../../crates/server/src/console/mod.rs");
    let pages = routes.lines().filter_map(|line| {
        let (path, handler) = line.trim().strip_prefix(".route(\"")?.split_once("\", ")?;
        handler.starts_with("get(").then_some(path)
    });
    let fits = |page: &str, address: &str| {
        let address = address.replace("{migration}", "/migrations/{id}");
        let (page, address): (Vec<_>, Vec<_>) =
            (page.split('/').collect(), address.split('/').collect());
        let same = |(one, other): (&&str, &&str)| one == other || one.starts_with('{');
        page.len() == address.len() && page.iter().zip(&address).all(same)
    };
    let without: Vec<_> = pages
        .filter(|page| !ELSEWHERE.contains(page) && !PAGES.iter().any(|at| fits(page, at)))
        .collect();
    assert!(without.is_empty(), "without an address in tests/tests/browser/looks.rs: {without:?}");
}

#[tokio::test]
async fn axe_finds_nothing_on_any_page_wide_or_narrow_by_day_or_night() {
    let site = Site::open(300);
    for (night, scheme) in [("1", "light"), ("0", "dark")] {
        let setting = format!("--blink-settings=preferredColorScheme={night}");
        let page = site.browse_with(OPERATOR, &[&setting]).await;
        let is_dark = "return matchMedia('(prefers-color-scheme: dark)').matches";
        assert_eq!(page.value(is_dark).await, scheme == "dark");
        let migration = match page.migration_of(&site).await {
            Some(path) => path,
            None => page.start(&site, "0").await,
        };
        page.goto(&migration).await;
        page.shows("no violation").await;
        let id = migration.rsplit('/').next().unwrap().to_owned();
        for (width, height) in [(1280, 1600), (390, 844)] {
            page.resize(width, height).await;
            for path in PAGES {
                let path = path.replace("{migration}", &migration).replace("{id}", &id);
                let path = path.replace("{tenant}", &site.tenant);
                page.goto(&path).await;
                page.shot(&format!("{scheme}-{width}{}", path.replace(['/', '?', '='], "_"))).await;
                let found = page.found_by_axe().await;
                assert!(found.is_empty(), "{path} ({scheme}, {width}): {found:#?}");
                // A command in a sentence is in a font of its own, and not between the signs of a source.
                let raw = page.value("return document.body.innerText.includes('`')").await;
                assert_eq!(raw, false, "{path}: a command between backticks");
            }
        }
        page.close().await;
    }
}

#[tokio::test]
async fn a_chart_marks_phases_and_the_cutover_and_tells_its_values_to_a_pointer_and_to_keys() {
    let site = Site::open(3_000);
    let page = site.browse(OPERATOR).await;
    page.start(&site, "600").await;
    let strip = "figure[data-chart=copied] rect.phase";
    page.until("copying is marked", async || page.has(&format!("{strip}.bulk_copy")).await).await;
    page.until("mirroring is marked", async || page.has(&format!("{strip}.dual_write")).await)
        .await;
    page.shows("no violation").await;
    page.click_link("Switch now").await;
    page.press("Switch now").await;
    page.shows("Done. Writes go to dedicated.").await;
    page.until("the cutover is marked with its pause", async || {
        let label = "return document.querySelector('figure[data-chart=lag] text.cut')?.textContent";
        page.value(label).await.as_str().is_some_and(|text| text.starts_with("cutover, "))
    })
    .await;

    let svg = Locator::Css("figure[data-chart=copied] svg");
    let chart = page.client().find(svg).await.unwrap();
    point_at(page.client(), &chart).await;
    let read = "figure[data-chart=copied] .reading";
    page.until("the time under the pointer", async || page.text(read).await.contains(':')).await;
    assert!(page.has("figure[data-chart=copied] line.hair").await);
    page.run("document.querySelector('figure[data-chart=rate] svg').focus()").await;
    let focused = page.client().active_element().await.unwrap();
    focused.send_keys("\u{e012}").await.unwrap();
    page.until("the value is said", async || {
        let said = "return document.querySelector('figure[data-chart=rate] .spoken').textContent";
        page.value(said)
            .await
            .as_str()
            .is_some_and(|text| text.contains("/s") && text.contains(':'))
    })
    .await;
    page.close().await;
}

/// Moves the pointer to the middle of it.
async fn point_at(client: &Client, element: &fantoccini::elements::Element) {
    let to =
        PointerAction::MoveToElement { element: element.clone(), duration: None, x: 0.0, y: 0.0 };
    client.perform_actions(MouseActions::new("mouse".to_owned()).then(to)).await.unwrap();
}

#[tokio::test]
async fn nothing_moves_on_a_page_while_it_is_live() {
    let site = Site::open(6_000);
    let page = site.browse(OPERATOR).await;
    let migration = page.start(&site, "30").await;
    for width in [1280, 390] {
        page.resize(width, 1_200).await;
        for path in ["/", migration.as_str()] {
            page.goto(path).await;
            page.until("it is live", async || page.text("#live").await == "Live").await;
            let is_copying = "return [...document.querySelectorAll('.badge')].some((badge) => \
                badge.textContent === 'copying')";
            page.until("it is copying", async || page.value(is_copying).await == true).await;
            page.run(
                "window.moved = []; new PerformanceObserver((list) => list.getEntries().forEach((entry) => \
                 { if (!entry.hadRecentInput) window.moved.push([entry.value, \
                 entry.sources.map((source) => [source.node?.id, source.node?.className, source.previousRect.y, source.currentRect.y])]); })) \
                 .observe({ type: 'layout-shift' }); \
                 window.changes = 0; new MutationObserver(() => { window.changes += 1; }) \
                 .observe(document.querySelector('main'), { childList: true, subtree: true });",
            )
            .await;
            page.until("it has changed again", async || {
                page.value("return window.changes").await.as_u64() > Some(20)
            })
            .await;
            assert_eq!(page.value(is_copying).await, true, "the copy ended too early");
            let moved = page.value("return window.moved").await;
            assert_eq!(moved, serde_json::json!([]), "{path} at {width}");
        }
    }
    page.close().await;
}

#[tokio::test]
async fn times_are_the_readers_and_say_how_long_ago_and_one_button_shows_utc() {
    let site = Site::open(100);
    let page = site.browse(OPERATOR).await;
    page.start(&site, "0").await;
    page.shows("(GMT+5:30).").await;
    page.shows("just now").await;
    let shown = "const time = document.querySelector('#phases time'); return [time.dateTime, \
        time.querySelector('span').textContent, time.title]";
    let shown = page.value(shown).await;
    let part = |index: usize| shown[index].as_str().unwrap().to_owned();
    let minutes = |text: &str| -> u32 {
        let number = |from: usize| text[from..from + 2].parse::<u32>().unwrap();
        number(0) * 60 + number(3)
    };
    let utc = minutes(part(0).split_once('T').unwrap().1);
    assert_eq!(minutes(&part(1)), (utc + 330) % (24 * 60), "{shown}");
    assert!(part(2).ends_with(" UTC"), "{shown}");
    page.press_anywhere("Show UTC").await;
    page.shows("Times are UTC.").await;
    let clock = "return document.querySelector('#phases time span').textContent";
    assert_eq!(minutes(page.value(clock).await.as_str().unwrap()), utc);
    page.close().await;
}

#[tokio::test]
async fn an_address_that_is_none_is_a_page_for_people_and_a_document_for_programs() {
    let site = Site::open(10);
    let page = site.browse(OPERATOR).await;
    for path in ["/nowhere", "/migrations/none", "/tenants?unknown=1"] {
        page.goto(path).await;
        page.shows("Overview").await;
        assert!(page.has("h1").await && !page.text("body").await.contains('{'), "{path}");
    }
    page.click_link("Overview").await;
    page.shows("No tenant has been moved yet.").await;
    page.goto("/v1/nowhere").await;
    page.shows("urn:rehome:problem:no_such_path").await;
    page.close().await;
}

impl Page {
    /// The path of the page of the tenant's migration, if there is one.
    async fn migration_of(&self, site: &Site) -> Option<String> {
        self.goto(&format!("/migrations?search={}", site.tenant)).await;
        let link = "return document.querySelector('table a')?.getAttribute('href') ?? null";
        self.value(link).await.as_str().map(str::to_owned)
    }

    /// Presses a button outside of the main part.
    async fn press_anywhere(&self, label: &str) {
        let path = format!("//button[normalize-space()='{label}']");
        let button = self.client().find(Locator::XPath(&path)).await.unwrap();
        button.click().await.unwrap();
    }
}
