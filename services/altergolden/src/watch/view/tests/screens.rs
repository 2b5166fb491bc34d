//! Whole screens, as they are drawn.

use super::*;

#[test]
fn overview_of_a_small_fleet() {
    assert_screen(
        &state(small_fleet()),
        now(),
        "
 4 shards ready   4,006 guilds   512 events/s                        0.4 s old
 2 workers   generation blue      127.0.0.1:50051   term 1795389000000, acting
 identify  none waiting                   991 of 1,000 left today, 50 reserved
 plan      none
 shards ──────────────────────────────────────────────────────────── ■ 4 ready ─
 0 ■   1 ■   2 ■   3 ■
 workers ───────────────────────────────────────────────────────────────────────
 WORKER   STATE       READY  GUILDS EVENTS/S   MEMORY HEARD  GEN  VERSION SHARDS
 worker-0 connected     2/2   2,001      256   99 MiB 0.7 s  blue 0.1.0   0-1
 worker-1 connected     2/2   2,005      256   99 MiB 0.7 s  blue 0.1.0   2-3
 problems ──────────────────────────────────────────────────────────────────────
 none
 1 overview  2 shards  3 workers  4 problems  5 plan  / filter  ? help  q quit",
    );
}

#[test]
fn overview_of_a_promotion_with_problems() {
    assert_screen(
        &state(busy_fleet()),
        now(),
        "
 11 of 16 shards ready   16,120 guilds   2,048 events/s              0.4 s old
 4 workers (1 draining)   generation blue           term 1795389000000, acting
 identify  8 waiting, 1 at a time: all ready in about 41 s      991 left today
 plan      promote generation green  ██████░░░░░░░░░░  5 of 12, about 7 s left
 shards ──────────── F 1 failed  c 1 reconnecting  m 1 moving  r 1 resuming  … ─
  0 ■    1 ■    2 ■    3 q    4 ■    5 m    6 r    7 ■    8 ■    9 F
 10 ■   11 ■   12 c   13 ■   14 ■   15 ■
 workers ───────────────────────────────────────────────────────────────────────
 WORKER   STATE       READY  GUILDS EVENTS/S   MEMORY HEARD  GEN   VERSION
 worker-1 cut off       2/4   4,022      512   99 MiB 4.6 s  blue  0.1.0
 worker-3 draining      3/4   4,054      512   99 MiB 0.7 s  blue  0.1.0
 worker-0 connected     3/4   4,006      512   99 MiB 0.7 s  blue  0.1.0
 worker-2 connected     3/4   4,038      512   99 MiB 0.7 s  green 0.1.0
 problems ──────────────────────────────────────────────────────────────────────
 problem: worker worker-1 is cut off (worker_cut_off, began 4.0 s ago)
 problem: shard 9 failed: closed with 4014: Disallowed intent(s): enable them f…
 progress: shard 3 waiting in the identify queue, 8 requests long: the last tur…
 1 overview  2 shards  3 workers  4 problems  5 plan  / filter  ? help  q quit",
    );
}

#[test]
fn overview_of_64_shards_numbers_them() {
    assert_screen(
        &state(large_fleet(64, 4)),
        now(),
        "
 64 shards ready   66,016 guilds   8,192 events/s                    0.4 s old
 4 workers   generation blue      127.0.0.1:50051   term 1795389000000, acting
 identify  none waiting                   991 of 1,000 left today, 50 reserved
 plan      none
 shards ─────────────────────────────────────────────────────────── ■ 64 ready ─
  0 ■    1 ■    2 ■    3 ■    4 ■    5 ■    6 ■    7 ■    8 ■    9 ■
 10 ■   11 ■   12 ■   13 ■   14 ■   15 ■   16 ■   17 ■   18 ■   19 ■
 20 ■   21 ■   22 ■   23 ■   24 ■   25 ■   26 ■   27 ■   28 ■   29 ■
 30 ■   31 ■   32 ■   33 ■   34 ■   35 ■   36 ■   37 ■   38 ■   39 ■
 40 ■   41 ■   42 ■   43 ■   44 ■   45 ■   46 ■   47 ■   48 ■   49 ■
 50 ■   51 ■   52 ■   53 ■   54 ■   55 ■   56 ■   57 ■   58 ■   59 ■
 60 ■   61 ■   62 ■   63 ■
 workers ───────────────────────────────────────────────────────────────────────
 WORKER   STATE       READY  GUILDS EVENTS/S   MEMORY HEARD  GEN  VERSION SHARDS
 worker-0 connected   16/16  16,120    2,048   99 MiB 0.7 s  blue 0.1.0   0-15
 worker-1 connected   16/16  16,376    2,048   99 MiB 0.7 s  blue 0.1.0   16-31
 worker-2 connected   16/16  16,632    2,048   99 MiB 0.7 s  blue 0.1.0   32-47
 worker-3 connected   16/16  16,888    2,048   99 MiB 0.7 s  blue 0.1.0   48-63
 problems ──────────────────────────────────────────────────────────────────────
 none
 1 overview  2 shards  3 workers  4 problems  5 plan  / filter  ? help  q quit",
    );
}

#[test]
fn overview_of_2048_shards_shows_the_worst_of_each_group() {
    assert_screen(
        &state(many_shards()),
        now(),
        "
 2,007 of 2,048 shards ready   4,144,128 guilds   262,144 events/s   0.4 s old
 32 workers   generation blue     127.0.0.1:50051   term 1795389000000, acting
 identify  none waiting                   991 of 1,000 left today, 50 reserved
 plan      none
 shards, 5 a letter: the worst ──────── F 1 failed  q 40 queued  ■ 2,007 ready ─
    0 ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■
  300 ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■
  600 ■■■■■■■■■■ ■■■■■■■■■■ qqqqqqqq■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■
  900 ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■
 1200 ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■
 1500 ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■
 1800 ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■■ ■■■■■■■■■F ■■■■■■■■■■
 workers ───────────────────────────────────────────────────────────── 7 of 32 ─
 WORKER    STATE       READY  GUILDS EVENTS/S   MEMORY HEARD  GEN  VERSION
 worker-10 connected   60/64 106,976    8,192   99 MiB 0.7 s  blue 0.1.0
 worker-11 connected   28/64 111,072    8,192   99 MiB 0.7 s  blue 0.1.0
 worker-31 connected   63/64 192,992    8,192   99 MiB 0.7 s  blue 0.1.0
 worker-0  connected   64/64  66,016    8,192   99 MiB 0.7 s  blue 0.1.0
 worker-1  connected   64/64  70,112    8,192   99 MiB 0.7 s  blue 0.1.0
 worker-2  connected   64/64  74,208    8,192   99 MiB 0.7 s  blue 0.1.0
 worker-3  connected   64/64  78,304    8,192   99 MiB 0.7 s  blue 0.1.0
 problems ──────────────────────────────────────────────────────────────────────
 none
 1 overview  2 shards  3 workers  4 problems  5 plan  / filter  ? help  q quit",
    );
}

#[test]
fn list_of_shards_is_filtered_and_paged() {
    let mut state = state(busy_fleet());
    state.resize((80, 14));
    press(&mut state, &[Key::Letter('2'), Key::PageDown, Key::Down]);
    assert_screen(
        &state,
        now(),
        "
 11 of 16 shards ready   16,120 guilds   2,048 events/s              0.4 s old
 4 workers (1 draining)   generation blue           term 1795389000000, acting
 identify  8 waiting, 1 at a time: all ready in about 41 s      991 left today
 plan      promote generation green  ██████░░░░░░░░░░  5 of 12, about 7 s left
 shards ─────────────────────────────────────────────────────────── 8-14 of 16 ─
 SHARD WORKER   STATE         GUILDS EVENTS/S LATENCY  UPTIME START
     7 worker-1 ready          1,007      128   41 ms   3 min resumed 0.2 s, 3 …
     8 worker-2 ready          1,008      128   41 ms   3 min resumed 0.2 s, 3 …
     9 worker-2 failed         1,009      128   41 ms   3 min closed with 4014:…
    10 worker-2 ready          1,010      128   41 ms   3 min resumed 0.2 s, 3 …
    11 worker-2 ready          1,011      128   41 ms   3 min resumed 0.2 s, 3 …
    12 worker-3 reconnecting   1,012      128   41 ms   3 min GAP, resumed 0.2 …
    13 worker-3 ready          1,013      128   41 ms   3 min resumed 0.2 s, 3 …
 1 overview  2 shards  3 workers  4 problems  5 plan  / filter  ? help  q quit",
    );
}

#[test]
fn filter_while_it_is_typed() {
    let mut state = state(busy_fleet());
    press(&mut state, &[Key::Letter('2'), Key::Letter('/')]);
    type_text(&mut state, "!ready worker-2");
    assert_screen(
        &state,
        now(),
        "
 11 of 16 shards ready   16,120 guilds   2,048 events/s              0.4 s old
 4 workers (1 draining)   generation blue           term 1795389000000, acting
 identify  8 waiting, 1 at a time: all ready in about 41 s      991 left today
 plan      promote generation green  ██████░░░░░░░░░░  5 of 12, about 7 s left
 shards that pass the filter ───────────────────────────────────────────────────
 SHARD WORKER   STATE         GUILDS EVENTS/S LATENCY  UPTIME START
     9 worker-2 failed         1,009      128   41 ms   3 min closed with 4014:…
 filter: !ready worker-2▏   such as 3, 0-63, queued, !ready, a name",
    );
}

#[test]
fn detail_of_a_shard_with_a_gap() {
    let mut state = state(busy_fleet());
    press(&mut state, &[Key::Letter('/')]);
    type_text(&mut state, "12");
    press(&mut state, &[Key::Enter, Key::Enter]);
    assert_screen(
        &state,
        now(),
        "
 11 of 16 shards ready   16,120 guilds   2,048 events/s              0.4 s old
 4 workers (1 draining)   generation blue           term 1795389000000, acting
 identify  8 waiting, 1 at a time: all ready in about 41 s      991 left today
 plan      promote generation green  ██████░░░░░░░░░░  5 of 12, about 7 s left
 shard 12 ───────────────────────────────────────── ← → other shards, Esc back ─
 state       c reconnecting for longer than this screen is open, 10 s
 worker      worker-3 at 127.0.0.1:41235, 4 shards (3 ready), 99 MiB
 generation  blue, version 0.1.0
 assigned    3 min ago, at 23:15:27 UTC, epoch 1795389327000
 guilds      1,012
 events/s    128
 latency     41.2 ms
 uptime      3 min
 sequence    2,280
 reported    0.7 s ago
 start       resumed in 0.2 s, 3 replayed, 3 min ago, at 23:15:32 UTC
 gap         23:15:27 UTC to 23:15:32 UTC, after sequence 1,234: the session
             was invalidated
 1 overview  2 shards  3 workers  4 problems  5 plan      / 12  ? help  q quit",
    );
}

#[test]
fn pages_of_problems_and_of_the_plan() {
    let mut state = state(busy_fleet());
    press(&mut state, &[Key::Letter('4')]);
    assert_screen(
        &state,
        now(),
        "
 11 of 16 shards ready   16,120 guilds   2,048 events/s              0.4 s old
 4 workers (1 draining)   generation blue           term 1795389000000, acting
 identify  8 waiting, 1 at a time: all ready in about 41 s      991 left today
 plan      promote generation green  ██████░░░░░░░░░░  5 of 12, about 7 s left
 problems ──────────────────────────────────────────────────────────────────────
 problem: worker worker-1 is cut off (worker_cut_off, began 4.0 s ago)
 problem: shard 9 failed: closed with 4014: Disallowed intent(s): enable them
   for the application; next attempt in 10 min (shard_failed, began 3 min ago)
 progress: shard 3 waiting in the identify queue, 8 requests long: the last
   turn is in about 41 s (shard_queued, began 12 s ago)
 1 overview  2 shards  3 workers  4 problems  5 plan  / filter  ? help  q quit",
    );
    press(&mut state, &[Key::Letter('5')]);
    assert_screen(
        &state,
        now(),
        "
 11 of 16 shards ready   16,120 guilds   2,048 events/s              0.4 s old
 4 workers (1 draining)   generation blue           term 1795389000000, acting
 identify  8 waiting, 1 at a time: all ready in about 41 s      991 left today
 plan      promote generation green  ██████░░░░░░░░░░  5 of 12, about 7 s left
 plan 7: promote generation green ──────────────────────────────────────────────
 SHARD FROM                      TO                        BY       STATE
     0 worker-0                  green-0                   handoff  done
     1 worker-0                  green-0                   handoff  done
     2 worker-0                  green-0                   handoff  done
     3 worker-0                  green-0                   handoff  done
     4 worker-1                  green-0                   handoff  done
     5 worker-1                  green-0                   handoff  moving
     6 worker-1                  green-0                   handoff  resuming
     7 worker-1                  green-0                   handoff  ready
     8 worker-2                  green-0                   handoff  ready
     9 worker-2                  green-0                   handoff  failed
    10 worker-2                  green-0                   handoff  ready
    11 worker-2                  green-0                   IDENTIFY ready
 1 overview  2 shards  3 workers  4 problems  5 plan  / filter  ? help  q quit",
    );
}

#[test]
fn page_of_workers_opens_their_shards() {
    let mut state = state(busy_fleet());
    press(&mut state, &[Key::Letter('3'), Key::Down, Key::Down]);
    assert_screen(
        &state,
        now(),
        "
 11 of 16 shards ready   16,120 guilds   2,048 events/s              0.4 s old
 4 workers (1 draining)   generation blue           term 1795389000000, acting
 identify  8 waiting, 1 at a time: all ready in about 41 s      991 left today
 plan      promote generation green  ██████░░░░░░░░░░  5 of 12, about 7 s left
 workers ───────────────────────────────────────────────────────────────────────
 WORKER   STATE       READY  GUILDS EVENTS/S   MEMORY HEARD  GEN   VERSION
 worker-0 connected     3/4   4,006      512   99 MiB 0.7 s  blue  0.1.0
 worker-1 cut off       2/4   4,022      512   99 MiB 4.6 s  blue  0.1.0
 worker-2 connected     3/4   4,038      512   99 MiB 0.7 s  green 0.1.0
 worker-3 draining      3/4   4,054      512   99 MiB 0.7 s  blue  0.1.0
 1 overview  2 shards  3 workers  4 problems  5 plan  / filter  ? help  q quit",
    );
    press(&mut state, &[Key::Enter]);
    let shards: Vec<u32> = state.shards().iter().map(|shard| shard.shard_id).collect();
    assert_eq!((state.page, shards), (Page::Shards, vec![8, 9, 10, 11]));
}

#[test]
fn stale_data_is_grey_and_says_so() {
    let mut state = state(small_fleet());
    let reason = "cannot reach http://127.0.0.1:50051: Connection refused (os error 111)".to_owned();
    state.apply(News::Lost { reason, next: Duration::from_secs(19) }, Duration::from_secs(11));
    let later = Now { mono: Duration::from_secs(15), unix_ms: UNIX_MS };
    assert_screen(
        &state,
        later,
        "
 4 shards ready   4,006 guilds   512 events/s                 STALE: 5.0 s old
 coordinator unreachable: next attempt in 5 s: cannot reach http://127.0.0.1:50…
 identify  none waiting                   991 of 1,000 left today, 50 reserved
 plan      none
 shards ──────────────────────────────────────────────────────────── ■ 4 ready ─
 0 ■   1 ■   2 ■   3 ■
 workers ───────────────────────────────────────────────────────────────────────
 WORKER   STATE       READY  GUILDS EVENTS/S   MEMORY HEARD  GEN  VERSION SHARDS
 worker-0 connected     2/2   2,001      256   99 MiB 5.3 s  blue 0.1.0   0-1
 worker-1 connected     2/2   2,005      256   99 MiB 5.3 s  blue 0.1.0   2-3
 problems ──────────────────────────────────────────────────────────────────────
 none
 1 overview  2 shards  3 workers  4 problems  5 plan  / filter  ? help  q quit",
    );
    let buffer = drawn(&state, later, true);
    let coloured = (2..23).flat_map(|y| (0..80).map(move |x| (x, y))).filter(|at| {
        let cell = &buffer[*at];
        cell.symbol() != " " && cell.fg != Color::DarkGray
    });
    assert_eq!(coloured.count(), 0, "all but the first rows and the footer is grey");
    // Silence of a coordinator that is connected is stale too.
    let mut silent = self::state(small_fleet());
    assert!(rows(&silent, Now { mono: Duration::from_secs(14), ..now() })[0].ends_with("4.0 s old"));
    let rows = rows(&silent, Now { mono: Duration::from_secs(16), ..now() });
    assert!(rows[0].contains("STALE: 6.0 s old") && rows[1].contains("sends nothing"), "{rows:?}");
    silent.apply(News::Status(Box::new(small_fleet())), Duration::from_secs(16));
    assert!(!self::rows(&silent, Now { mono: Duration::from_secs(16), ..now() })[0].contains("STALE"));
}

#[test]
fn help_explains_keys_and_letters() {
    let mut state = state(small_fleet());
    press(&mut state, &[Key::Letter('?')]);
    assert_screen(
        &state,
        now(),
        "
 4 shards ready   4,006 guilds   512 events/s                        0.4 s old
 2 workers   generation blue      127.0.0.1:50051   term 1795389000000, acting
 identify  none waiting                   991 of 1,000 left today, 50 reserved
 plan      none
 keys ──────────────────────────────────────────────────────────────────────────
 1-5 Tab   overview, shards, workers, problems, plan
 arrows    select; PgUp and PgDn by pages, Home and End to the ends
 Enter     detail of the selected shard; shards of the selected worker
 /         filter: numbers (3, 0-63), states (queued), parts of workers' names
           !ready: every other state; worker:NAME: a name like a state's
 Esc       close the detail; remove the filter
 ?         this page; any key closes it
 q Ctrl-C  quit

           The letter of a shard is its state:
           - unassigned    q queued        i identifying   r resuming
           ■ ready         m moving        s silent        c reconnecting
           x stopped       F failed
 1 overview  2 shards  3 workers  4 problems  5 plan  / filter  ? help  q quit",
    );
    press(&mut state, &[Key::Letter('x')]);
    assert!(!state.help);
}
