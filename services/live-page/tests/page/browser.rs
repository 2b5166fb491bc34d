//! What a reader sees: a real coordinator, real workers, and a real browser.

use fleet_fixture::{Coordinator, Deployment, Proxy, sim_config};

use crate::chromium::Chromium;

const SHARDS: u32 = 8;

fn authority(url: &str) -> std::net::SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn reader_sees_the_fleet_and_what_happens_to_it() {
    let (deployment, mut browser) = tokio::join!(Deployment::start(sim_config(64)), Chromium::start());
    let coordinator = deployment.coordinator(SHARDS).await;
    // The coordinator comes back at the same address for the browser.
    let proxy = Proxy::to(authority(&coordinator.health)).await;
    let page = format!("http://{}/", proxy.address());

    browser.open(&page).await;
    browser.until("document.getElementById('ready').innerText.includes('No shards yet')").await;
    browser.until("!document.getElementById('workers-none').hidden").await;
    browser.until("document.getElementById('problem-list').innerText.includes('total_unsettled')").await;

    let (mut a, b) = tokio::join!(deployment.worker("a", &coordinator), deployment.worker("b", &coordinator));
    coordinator.until_balanced(&[&a, &b]).await;
    all_is_well(&mut browser).await;
    pure_parts_work(&mut browser).await;
    the_keyboard_and_the_address_work(&mut browser, &page).await;
    a_guild_is_explained(&mut browser, &deployment).await;

    // A worker dies: the page tells of it and of its shards' way back.
    a.process.kill().await;
    browser.until("document.getElementById('timeline-list').innerText.includes('worker a lost')").await;
    browser.until("document.getElementById('ready').innerText === '8 shards ready'").await;

    let next = coordinator_dies_and_comes_back(&mut browser, &deployment, coordinator, &proxy).await;
    next.until_balanced(&[&b]).await;
    browser.until("document.getElementById('ready').innerText === '8 shards ready'").await;
    // What failed while the coordinator was away is a network error of the browser, not of the page.
    let page_errors: Vec<_> =
        browser.errors.iter().filter(|error| !error.contains("(\"network\")")).collect();
    assert!(page_errors.is_empty(), "{page_errors:?}");
}

async fn all_is_well(browser: &mut Chromium) {
    browser.until("document.getElementById('ready').innerText === '8 shards ready'").await;
    browser.until("/64 guilds · [\\d.,]+ events/.test(document.getElementById('totals').innerText)").await;
    browser.until("/^\\d\\.\\d s old$/.test(document.getElementById('age').innerText)").await;
    browser.until("document.querySelectorAll('#worker-rows tr').length === 2").await;
    browser.until("document.getElementById('worker-rows').innerText.includes('4/4')").await;
    browser.until("document.getElementById('legend').innerText.includes('8 ready')").await;
    browser.until("document.getElementById('queue').innerText === 'None waiting'").await;
    browser
        .until("/\\d of [\\d,]+ IDENTIFYs left today/.test(document.getElementById('budget').innerText)")
        .await;
    // Every worker reports its figures.
    browser.until("document.querySelector('#pulse-lost .value').innerText === '0'").await;
    let colours = "(() => {
        const canvas = document.getElementById('grid');
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return data.some((value) => value !== 0);
    })()";
    assert_eq!(browser.eval(colours).await, true, "the grid is drawn");
    assert!(browser.errors.is_empty(), "{:?}", browser.errors);
}

async fn the_keyboard_and_the_address_work(browser: &mut Chromium, page: &str) {
    browser.press("s").await;
    browser.press("ArrowRight").await;
    browser.press("ArrowRight").await;
    browser.until("document.getElementById('shard-name').innerText === 'Shard 1'").await;
    browser.until("location.hash === '#shard=1'").await;
    browser.until("document.getElementById('announce').textContent.includes('shard 1 · ready')").await;
    browser.until("document.getElementById('shard-figures').innerText.includes('identified in')").await;
    browser.press("v").await;
    browser.until("location.hash.includes('view=latency')").await;
    browser.press("Escape").await;
    browser.until("document.getElementById('shard').hidden").await;
    // A copied address shows the same.
    browser.open("about:blank").await;
    browser.open(&format!("{page}#view=guilds&filter=0-3&theme=light&shard=2")).await;
    browser.until("document.getElementById('shard-count').innerText === '4 of 8'").await;
    browser
        .until("document.querySelector('[data-view=guilds]').getAttribute('aria-pressed') === 'true'")
        .await;
    browser.until("document.getElementById('shard-name').innerText === 'Shard 2'").await;
    browser.until("getComputedStyle(document.body).backgroundColor === 'rgb(251, 252, 253)'").await;
    browser.press("Escape").await;
    browser.press("Escape").await;
    browser.until("document.getElementById('shard-count').innerText === '8'").await;
}

async fn a_guild_is_explained(browser: &mut Chromium, deployment: &Deployment) {
    let guild = deployment.sim.control().guilds(1, SHARDS).remove(0).id;
    let ask = |guild: &str| {
        format!(
            "document.getElementById('why-guild').value = '{guild}';
             document.querySelector('#why-form button').click()"
        )
    };
    browser.eval(&ask(&guild.to_string())).await;
    browser
        .until("document.getElementById('why-sentence').innerText.includes('Nothing is wrong in the fleet')")
        .await;
    assert!(browser.text("why-facts").await.contains(&format!("guild {guild}")));
    browser.eval(&ask("123456789012345678")).await;
    browser.until("document.getElementById('why-sentence').innerText.includes('not in this guild')").await;
    browser.eval(&ask("77")).await;
    browser.until("document.getElementById('why-sentence').innerText.includes('15 to 20 digits')").await;
}

async fn coordinator_dies_and_comes_back(
    browser: &mut Chromium,
    deployment: &Deployment,
    mut coordinator: Coordinator,
    proxy: &Proxy,
) -> Coordinator {
    coordinator.process.kill().await;
    browser.until("document.documentElement.classList.contains('stale')").await;
    browser
        .until("document.getElementById('link').innerText.startsWith('No data from the coordinator')")
        .await;
    browser.until("/^STALE: .* old$/.test(document.getElementById('age').innerText)").await;
    assert_eq!(browser.text("ready").await, "8 shards ready", "the last figures stay, grey");
    let next = Coordinator::start(
        deployment
            .coordinator_command(SHARDS)
            .env("COORDINATOR_LISTEN", authority(&coordinator.address).to_string()),
    )
    .await;
    proxy.aim(authority(&next.health));
    browser.until("!document.documentElement.classList.contains('stale')").await;
    browser.until("document.getElementById('link').hidden").await;
    next
}

/// The parts that need no page: run by the same engine that runs them for readers.
async fn pure_parts_work(browser: &mut Chromium) {
    let failed = browser.eval(PURE_PARTS).await;
    assert_eq!(failed, serde_json::json!([]), "{failed:#}");
}

const PURE_PARTS: &str = r##"(async () => {
  const failed = [];
  const same = (what, got, wanted) => {
    if (JSON.stringify(got) !== JSON.stringify(wanted)) failed.push({ what, got, wanted });
  };
  const [text, fleet, grid, address, stream, timeline] = await Promise.all(
    ["text", "fleet", "grid", "address", "stream", "timeline"].map((name) => import(`/page/${name}.js`)));

  same("grouped", [0, 999, 1000, 1234567].map(text.grouped), ["0", "999", "1,000", "1,234,567"]);
  same("rate", [null, 0, 9.94, 1234.4].map(text.rate), ["–", "0.0", "9.9", "1,234"]);
  same("memory", [0, 99, 2048].map(text.memory), ["–", "99 MiB", "2.0 GiB"]);
  same("age", [440, 12300, 130000, 8e6, 2e8].map(text.age), ["0.4 s", "12 s", "2 min", "2 h", "2 d"]);
  same("names", ["b", "a-10", "a-2", "a-007", "a"].sort(text.compareNames), ["a", "a-2", "a-007", "a-10", "b"]);

  const shards = [[0, 4, "blue-1"], [1, 4, "blue-2"], [2, 9, "ready-made"], [10, 7, ""]];
  for (const [filter, wanted] of [
    ["2", [2]], ["1-9", [1, 2]], ["0 10", [0, 10]], ["0,1", [0, 1]], ["9-1", []], ["ready", [0, 1]], ["READY", [0, 1]],
    ["!ready", [2, 10]], ["rec", [10]], ["blue", [0, 1]], ["Blue-1", [0]], ["!blue", [2, 10]], ["ready blue-2", [1]],
    ["worker:ready", [2]], ["re", [2]], ["nothing", []],
  ]) {
    const passes = fleet.parseFilter(filter);
    same(`filter ${filter}`, shards.filter((shard) => passes(...shard)).map(([number]) => number), wanted);
  }
  same("no filter", [fleet.parseFilter(""), fleet.parseFilter(" ! ")], [null, null]);

  const model = new fleet.Fleet();
  const full = { seq: 5, age: 100, now: 1000, all: { status: [4, 4], worker: [0, 0], guilds: [1, 2], latency: [3, 4], rate: [10, -1] } };
  same("full", [model.apply("full", full, 0), model.totals()], [true, { guilds: 3, events: 1 }]);
  same("changes", [model.apply("changes", { seq: 6, age: 0, now: 2000, set: { status: [1, 9] } }, 0), model.counts()[9]], [true, 1]);
  same("a frame is missing", model.apply("changes", { seq: 8, age: 0, now: 3000 }, 0), false);

  for (const count of [0, 1, 4, 64, 400, 2048, 25000]) {
    for (const width of [300, 900, 1200]) {
      const digits = String(count).length;
      const cells = grid.layOut(count, digits, width, 480);
      const places = [0, 1, 9, 10, 50, count - 1].filter((at) => at >= 0 && at < count);
      for (const at of places) {
        const { x, y } = grid.corner(cells, at);
        same(`cell ${at} of ${count} in ${width}`, grid.cellAt(cells, count, x + 1, y + 1), at);
        if (x + cells.width > width) failed.push({ what: `cell ${at} of ${count} is beyond ${width}`, x });
      }
    }
  }

  const odd = address.parse("#view=x&shard=-1&guild=abc&theme=pink&range=9h&sort=y&filter=" + "a".repeat(99));
  same("odd address", { ...odd, filter: odd.filter.length }, { view: "state", filter: 60, shard: null, guild: "", theme: "auto", range: "24h", sort: "look" });
  const look = { ...odd, view: "guilds", filter: "0-3 !ready", shard: 7, guild: "123456789012345678" };
  same("written address", address.parse("#" + address.write(look)), look);

  const events = [];
  const feed = stream.events((name, data) => events.push([name, data]));
  for (const piece of ["event: fu", "ll\nda", "ta: {\"a\":1}\n", "\nevent: changes\ndata: 2\n\n: comment\n\n"]) feed(piece);
  same("events", events, [["full", "{\"a\":1}"], ["changes", "2"]]);

  same("lane of a newer kind", timeline.laneOf("reshard_began"), timeline.LANES.length - 1);
  const marks = timeline.marks(1e12, 1e12 + 24 * 3600e3);
  if (marks.length < 4 || marks.length > 8) failed.push({ what: "marks", marks });
  return failed;
})()"##;
