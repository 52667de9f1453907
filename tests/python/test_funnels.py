"""Funnels and paths against their definitions, counted chain by chain.

The demo's definitions on the demo, and others on people who do the same few things again and again
at the same moments, so that ends of windows, ties and detours are everywhere.
"""

from __future__ import annotations

import datetime as dt
import math
import random
import shutil
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import duckdb
import jinja2
import pytest
from conftest import ONLY_MODELS, PROJECT, Build, build, green

HOUR = dt.timedelta(hours=1)
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
NO_VISITS = ("email_sent", "email_open", "push_open")
HARD = {
    "a_then_b": ("ordered", ["page_view", "search", "order"], [None, 1, 2.5]),
    "long_after_short": (
        "ordered", ["search", "add_to_cart", "order", "page_view", "like"], [None, 0.5, 200, 1, 24]
    ),
    "three_views": ("ordered", ["page_view"] * 3, [None, 0.5, 0.5]),
    "by_mail": ("ordered", ["email_open", "page_view", "email_open"], [None, 3, 3]),
    "at_once": ("strict", ["page_view", "search", "add_to_cart"], [None, 1, 0.5]),
    "at_once_again": ("strict", ["page_view", "page_view", "order"], [None, 4, 4]),
    "any": ("any_order", ["search", "page_view", "order"], [2, None, None]),
    "any_twice": (
        "any_order", ["search", "page_view", "page_view", "email_open"], [3, None, None, None]
    ),
    "alone": ("ordered", ["add_to_cart"], [None]),
    "of_eight": ("ordered", ["page_view", "search"] * 4, [None, *[9] * 7]),
}  # fmt: skip


@dataclass(frozen=True)
class Event:
    at: dt.datetime
    name: str
    device: str | None
    on: dt.date
    session: str | None


def people(shop: Build) -> dict[str, list[Event]]:
    """What each person did, in order."""
    rows = shop.query(
        "select coalesce('customer:' || customer_id, visitor_id), occurred_at, false, event_id, "
        "event_type, device, occurred_on, session_id from marts.events union all "
        "select 'customer:' || customer_id, ordered_at, true, order_id, 'order', null, ordered_on, "
        "null from marts.orders where customer_id is not null and not is_cancelled"
    )
    found = defaultdict(list)
    for person, at, _, _, name, device, on, session in sorted(rows, key=lambda row: row[:4]):
        found[person].append(Event(at, name, device, on, session))
    return found


def definitions(shop: Build) -> dict[str, tuple[str, list[str], list[float | None]]]:
    found: dict = {}
    for funnel, mode, event, hours in shop.query(
        "select funnel, mode, event, window_hours from reference.funnel_steps "
        "order by funnel, step_number"
    ):
        _, events, windows = found.setdefault(funnel, (mode, [], []))
        events.append(event)
        windows.append(hours)
    return found


def longest_chain(stream, first, mode, names, hours) -> list[dt.datetime]:
    """Of all chains from an entry the one that gets furthest, each of its steps the earliest."""
    dead: set[tuple[int, int]] = set()
    best = [first]

    def go_on(chain: list[int]) -> None:
        nonlocal best
        if len(chain) > len(best):
            best = chain
        k = len(chain)
        if len(best) == len(names) or (k, chain[-1]) in dead:
            return
        dead.add((k, chain[-1]))
        last = chain[-1]
        candidates = range(last + 1, len(stream))
        if mode == "strict":
            visits = (i for i in candidates if stream[i].name not in NO_VISITS)
            candidates = [i for i in [next(visits, None)] if i is not None]
        for i in candidates:
            if stream[i].at - stream[last].at > hours[k] * HOUR:
                break
            if stream[i].name == names[k]:
                go_on([*chain, i])

    go_on([first])
    return [stream[i].at for i in best]


def in_any_order(stream, first, names, hours) -> list[dt.datetime]:
    """When each of the steps that follow an entry in time was done, sorted."""
    left = Counter(names)
    times = []
    for event in stream[first:]:
        if event.at - stream[first].at > hours[0] * HOUR:
            break
        if left[event.name]:
            left[event.name] -= 1
            times.append(event.at)
    return times


def settings(shop: Build) -> tuple[ZoneInfo, int]:
    """The shop's time zone, and its first day of the week, 0 for Monday."""
    given = dict(shop.query("select name, value from marts.settings"))
    return ZoneInfo(given["timezone"]), DAYS.index(given["week_start"])


def expected_entries(shop: Build) -> set[tuple]:
    found = set()
    _, week_start = settings(shop)
    streams = people(shop)
    for funnel, (mode, names, hours) in definitions(shop).items():
        for person, stream in streams.items():
            best: dict[tuple, tuple] = {}
            for i, event in enumerate(stream):
                if event.name not in (names if mode == "any_order" else names[:1]):
                    continue
                if mode == "any_order":
                    times = in_any_order(stream, i, names, hours)
                else:
                    times = longest_chain(stream, i, mode, names, hours)
                first = event.on - dt.timedelta(days=(event.on.weekday() - week_start) % 7)
                for period in (("week", first), ("month", event.on.replace(day=1))):
                    rank = (-len(times), times[-1], -i)
                    if period not in best or rank < best[period][0]:
                        best[period] = (rank, event.device, times)
            for period, (_, device, times) in best.items():
                for k, at in enumerate(times):
                    row = (person, k + 1, device, times[0], times[k - 1] if k else None, at)
                    found.add((funnel, *period, *row))
    return found


def entries(shop: Build) -> list[tuple]:
    return shop.query(
        "select funnel, grain, period_start_on, people.person_id, step, entries.device, "
        "entered_at, previous_reached_at, reached_at from intermediate.funnel_entries as entries "
        "join intermediate.person_events as people "
        "on entries.person_number = people.person_number and people.event_number = 1"
    )


@pytest.fixture(scope="module")
def restless(demo, tmp_path_factory) -> Build:
    """The demo's warehouse with other people in it, and other funnels."""
    folder = tmp_path_factory.mktemp("restless")
    shutil.copy(demo.warehouse, folder / "restless.duckdb")
    chance = random.Random(5)
    names = ["page_view", "search", "add_to_cart", "like", "email_open", "purchase"]
    began_at = dt.datetime(2024, 12, 28)
    events, orders = [], []
    for n in range(1500):
        person = chance.randrange(30)
        # Every half hour of five days around the turn of a year: many at the same moment.
        at = began_at + chance.randrange(240) * HOUR / 2
        if chance.random() < 0.2:
            orders.append((f"o{n}", f"c{person}" if person < 20 else None, at, at.date()))
            continue
        name = chance.choice(names)
        who = f"c{person}" if person < 20 else None
        session = None if name in NO_VISITS else f"s{person}-{at.date()}"
        device = chance.choice(["mobile", "desktop", None])
        row = (f"e{chance.random()}", name, who, f"device:d{person}", session, device)
        events.append((*row, at, at.date(), name not in NO_VISITS))
    with duckdb.connect(str(folder / "restless.duckdb")) as connection:
        connection.execute("delete from marts.events; delete from marts.orders")
        connection.executemany(
            "insert into marts.events (event_id, event_type, customer_id, visitor_id, session_id, "
            "device, occurred_at, occurred_on, is_visit) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            events,
        )
        connection.executemany(
            "insert into marts.orders (order_id, customer_id, ordered_at, ordered_on, is_cancelled)"
            " values (?, ?, ?, ?, false)",
            orders,
        )
        connection.execute("delete from reference.funnel_steps")
        connection.executemany(
            "insert into reference.funnel_steps values (?, ?, ?, ?, ?)",
            [
                (funnel, mode, number, *step)
                for funnel, (mode, events, hours) in HARD.items()
                for number, step in enumerate(zip(events, hours, strict=True), 1)
            ],
        )
    chosen = {"select": "person_events funnel_entries funnels paths", "exclude": ONLY_MODELS}
    return green(build(folder / "restless.duckdb", shop="demo", **chosen))


@pytest.fixture(params=["demo", "restless", "online_retail"])
def shop(request) -> Build:
    if request.param == "online_retail":
        return request.getfixturevalue("real_shop")("online_retail")
    return request.getfixturevalue(request.param)


def test_every_entry_is_the_best_of_all_chains(shop):
    found = entries(shop)
    assert len(found) == len(set(found))
    assert set(found) == expected_entries(shop)


def test_the_hard_shop_is_hard(restless):
    """Chains that a forward search for the latest entry alone would give to one period only."""
    depth = Counter()
    across = 0
    for funnel, grain, start, _, step, _, entered, _, reached in entries(restless):
        depth[funnel] = max(depth[funnel], step)
        across += grain == "month" and entered.month != reached.month and start.month == 12
    assert across > 0
    assert {f for f, (_, names, _) in HARD.items() if depth[f] == len(names)} == {*HARD}


def test_figures_are_those_of_the_entries(shop):
    segments = dict(
        shop.query("select 'customer:' || customer_id, country from intermediate.customer_segments")
    )
    modes = definitions(shop)
    zone, _ = settings(shop)
    [(as_of,)] = shop.query("select as_of from intermediate.clock")
    groups = defaultdict(list)
    for funnel, grain, start, person, step, device, entered, previous, at in entries(shop):
        for segment in (
            ("all", "all"),
            ("country", segments.get(person, "unknown")),
            ("device", device or "unknown"),
        ):
            if grain == "week" and segment[0] != "all":
                continue
            groups[funnel, grain, start, *segment, step].append((entered, previous, at))
    rows = shop.query(
        "select funnel, grain, period_start_on, segment_type, segment, step, is_mature, "
        "n_reached_to_date, n_entered, n_previous, n_reached, n_dropped, reached_rate, step_rate, "
        "median_hours_from_entry, p90_hours_from_entry, median_hours_from_previous, "
        "p90_hours_from_previous from marts.funnels "
        "where segment_type in ('all', 'country', 'device')"
    )
    cells = {key[:5] for key in groups}
    assert sorted(row[:6] for row in rows) == sorted(
        (*cell, step + 1) for cell in cells for step in range(len(modes[cell[0]][1]))
    )
    n_mature = 0
    for row in rows:
        key, is_mature, to_date = row[:6], *row[6:8]
        entered, before, reached, dropped, rate, step_rate, *hours = row[8:]
        funnel, grain, start, *_, step = key
        there = groups.get(key, [])
        assert to_date == len(there)
        days = 7 if grain == "week" else 31
        end = start + dt.timedelta(days=days)
        end = end if grain == "week" else end.replace(day=1)
        window = sum(hour or 0 for hour in modes[funnel][2])
        midnight = dt.datetime.combine(end, dt.time(), zone).astimezone(dt.UTC)
        over_at = midnight.replace(tzinfo=None) + window * HOUR
        assert is_mature == (over_at <= as_of)
        if not is_mature:
            assert {entered, before, reached, dropped, rate, step_rate, *hours} == {None}
            continue
        n_mature += 1
        firsts = len(groups[*key[:5], 1])
        assert (entered, reached, rate) == (firsts, len(there), pytest.approx(len(there) / firsts))
        if step == 1:
            assert {before, dropped, step_rate, *hours} == {None}
            continue
        n_before = len(groups.get((*key[:5], step - 1), []))
        assert (before, dropped) == (n_before, n_before - len(there))
        assert step_rate == (pytest.approx(len(there) / n_before) if n_before else None)
        expected = []
        for since in (0, 1):
            times = sorted((moments[2] - moments[since]) / HOUR for moments in there)
            expected += [statistics.median(times), percentile(times, 0.9)] if times else [None] * 2
        assert hours == [x if x is None else pytest.approx(x, abs=1e-9) for x in expected]
    assert n_mature > 50 or shop.warehouse.name == "restless.duckdb"


def percentile(values: list[float], share: float) -> float:
    place = share * (len(values) - 1)
    below = values[math.floor(place)]
    return below + (values[math.ceil(place)] - below) * (place - math.floor(place))


def without_repeats(names: list[str]) -> list[str]:
    return [name for i, name in enumerate(names) if i + 1 == len(names) or names[i + 1] != name]


def test_paths_are_the_last_steps(shop):
    [(as_of,)] = shop.query("select as_of from intermediate.clock")
    dormant = {
        f"customer:{customer}"
        for (customer,) in shop.query(
            "select customer_id from marts.customer_rhythms where is_dormant"
        )
    }
    counts: dict = defaultdict(Counter)
    persons = defaultdict(set)

    def count(kind: str, person: str, names: list[str]) -> None:
        for n in range(1, 6):
            last = names[-n:]
            path = " > ".join((["(start)"] if len(last) < n else []) + last)
            counts[kind, n][path] += 1
            persons[kind, n, path].add(person)

    for person, stream in people(shop).items():
        sessions, last = defaultdict(list), None
        for event in stream:
            name = "purchase" if event.name == "order" else event.name
            if event.session:
                last = event
            if event.session or (
                event.name == "order" and last and event.at - last.at <= dt.timedelta(minutes=30)
            ):
                sessions[event.session or last.session].append((name, event.at))
        for steps in sessions.values():
            names = without_repeats([name for name, _ in steps])
            for i, name in enumerate(names):
                if name == "purchase":
                    count("purchase", person, names[:i])
            if "purchase" not in names and as_of - steps[-1][1] > dt.timedelta(minutes=30):
                count("exit", person, names)
        doings = [event.name for event in stream if event.name not in NO_VISITS]
        if person in dormant and {*doings} - {"order"}:
            doings = ["purchase" if name == "order" else name for name in doings]
            count("dormancy", person, without_repeats(doings))

    expected = []
    for (kind, n), paths in counts.items():
        ranked = sorted(paths, key=lambda path: (-paths[path], path))
        for rank, path in enumerate(ranked[:50], 1):
            expected.append((kind, n, path, rank, paths[path], len(persons[kind, n, path])))
        if rest := ranked[50:]:
            n_persons = len(set().union(*(persons[kind, n, path] for path in rest)))
            expected.append((kind, n, "(other)", None, sum(paths[p] for p in rest), n_persons))
    found = shop.query(
        "select path_end, n_steps, path, path_rank, n_paths, n_persons from marts.paths"
    )
    assert sorted(found, key=str) == sorted(expected, key=str)
    for kind, n, total, share in shop.query(
        "select path_end, n_steps, max(n_all_paths), sum(path_share) from marts.paths group by all"
    ):
        assert total == counts[kind, n].total()
        assert share == pytest.approx(1)


@pytest.mark.parametrize(
    ("test", "rows", "found"),
    [
        ("funnel_steps_are_numbered_from_1_without_gaps", "1 2 3", 0),
        ("funnel_steps_are_numbered_from_1_without_gaps", "1 3", 1),
        ("funnel_steps_are_numbered_from_1_without_gaps", "0 1", 1),
        ("funnel_steps_are_numbered_from_1_without_gaps", "1 2 3 4 5 6 7 8 9", 1),
        ("funnel_windows_are_given_where_they_belong", [None, 1, 0.5], 0),
        ("funnel_windows_are_given_where_they_belong", [None, None, 1], 1),
        ("funnel_windows_are_given_where_they_belong", [2, 1], 1),
        ("funnel_windows_are_given_where_they_belong", [None, 0, -1], 2),
        ("funnel_windows_are_given_where_they_belong", ["any", 2, None], 0),
        ("funnel_windows_are_given_where_they_belong", ["any", None, 2], 2),
        ("funnels_have_one_mode_that_their_events_allow", "strict strict", 0),
        ("funnels_have_one_mode_that_their_events_allow", "strict ordered", 1),
        ("funnels_have_one_mode_that_their_events_allow", "ordered mail", 0),
        ("funnels_have_one_mode_that_their_events_allow", "strict strict mail", 1),
    ],
)
def test_what_is_wrong_with_a_funnel_is_found(test, rows, found):
    steps = []
    if isinstance(rows, list):
        mode = "any_order" if rows[0] == "any" else "ordered"
        hours = [x for x in rows if x != "any"]
        steps = [(mode, n, "order", x) for n, x in enumerate(hours, 1)]
    else:
        words = rows.split()
        numbers = all(word.isdigit() for word in words)
        mode = "ordered" if numbers else words[0]
        for n, word in enumerate(words, 1):
            if numbers:
                steps.append((mode, int(word), "order", 1))
            elif word == "mail":
                steps.append((mode, n, "email_open", 1))
            else:
                steps.append((word, n, "order", 1))

    class Macros:
        max_funnel_steps = staticmethod(lambda: 8)
        is_visit = staticmethod(lambda event: f"{event} not in {NO_VISITS}")

    text = (PROJECT / "tests" / "marts" / "retention" / f"{test}.sql").read_text("utf-8")
    sql = jinja2.Template(text).render(ref=lambda name: name, perennial=Macros)
    with duckdb.connect() as connection:
        connection.execute(
            "create table funnel_steps (funnel varchar, mode varchar, step_number integer, "
            "event varchar, window_hours double)"
        )
        connection.executemany("insert into funnel_steps values ('f', ?, ?, ?, ?)", steps)
        assert len(connection.execute(sql).fetchall()) == found
