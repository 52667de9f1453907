"""Sessions and events: browsing before purchases, browsing without, messages opened.

Every session is a row of counts, one for each stage of a visit in its fixed order; the
events follow from the counts without sorting within sessions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from perennial.contract import accepted
from perennial.simulate.catalogue import Catalogue, labels, moments, numbered
from perennial.simulate.marketing import Shop, Touches
from perennial.simulate.orders import Orders
from perennial.simulate.parameters import DAY, HOUR, N_CLUSTERS, Plan
from perennial.simulate.people import People, device_ids, ingested

EVENT_TYPES = accepted("events", "event_type")
TYPE = {name: number for number, name in enumerate(EVENT_TYPES)}
SOCIAL = np.array([TYPE["like"], TYPE["like"], TYPE["share"], TYPE["comment"]])
NEVER, FROM_START, MIDWAY = 0, 1, 2
# Measured at the default constants: events for each order without any browsing, and those
# that browsing at intensity 1 adds. --events-per-order sets the intensity through them.
EVENTS_WITHOUT_BROWSING, EVENTS_OF_BROWSING = 6.4, 1.74
TRICKLE = 0.04


@dataclass
class Sessions:
    """Sessions as arrays of one length; moments in seconds since the start.

    `anchor` is the moment of the first event, or for an order (order >= 0) of the last.
    `source` is a channel's number, or -1 - campaign, or -10,000 for no trace.
    """

    anchor: np.ndarray
    person: np.ndarray
    device: np.ndarray
    login: np.ndarray
    signup: np.ndarray
    order: np.ndarray
    source: np.ndarray
    cluster: np.ndarray

    @property
    def size(self) -> int:
        """Number of sessions."""
        return len(self.anchor)


NO_TRACE = -10_000


def make_sessions(
    plan: Plan,
    chunk: int,
    people: People,
    orders: Orders,
    touches: Touches,
    edges: tuple[np.ndarray, np.ndarray],
    first_visitor: int,
) -> tuple[Sessions, int]:
    """All sessions of a chunk, and the number of the next free visitor's device."""
    rng = plan.rng(chunk, 9)
    calendar, operational = edges
    n = people.size
    parts: list[tuple[np.ndarray, ...]] = []

    def add(anchor, person, device, login, source, *, signup=None, order=None, cluster=None):
        size = len(anchor)
        parts.append(
            (
                anchor,
                person,
                device,
                login,
                np.zeros(size, dtype=bool) if signup is None else signup,
                np.full(size, -1) if order is None else order,
                source,
                np.where(person >= 0, people.cluster[person], 0) if cluster is None else cluster,
            )
        )

    def own_device(person):
        pick = (rng.random(len(person)) ** 2 * people.n_devices[person]).astype(np.int64)
        return np.where(pick == 1, people.second_device[person], people.first_device[person] + pick)

    # Sessions that end in an order.
    size = orders.size
    known = orders.person >= 0
    first = np.zeros(size, dtype=bool)
    _, where = np.unique(orders.person, return_index=True)
    first[where] = True
    first &= known
    device = np.full(size, -1)
    device[known] = own_device(orders.person[known])
    device[first] = people.first_device[orders.person[first]]
    n_guests = int((~known).sum())
    device[~known] = first_visitor + np.arange(n_guests)
    first_visitor += n_guests
    login = np.where(rng.random(size) < 0.6, FROM_START, MIDWAY)
    login = np.where(first, MIDWAY, np.where(known, login, NEVER))
    trace = rng.random(size) < 0.25
    source = np.where(
        first,
        people.channel[orders.person],
        np.where(trace & known, people.channel[orders.person], NO_TRACE),
    )
    campaign_order = (orders.cause >= 0) & (orders.cause < 1_000_000)
    source = np.where(campaign_order, -1 - orders.cause, source)
    add(
        orders.when,
        orders.person,
        device,
        login,
        source,
        signup=first,
        order=np.arange(size),
        cluster=np.where(known, people.cluster[orders.person], rng.integers(0, N_CLUSTERS, size)),
    )

    # Visits without an order while the customer is with the shop, and a trickle after.
    intensity = max(0.0, plan.events_per_order - EVENTS_WITHOUT_BROWSING) / EVENTS_OF_BROWSING
    typical = np.array([item.r / item.alpha for item in plan.channels])[people.channel]
    keen = (0.6 * people.rate + 0.4 * typical) * people.engagement * intensity
    begin = np.interp(people.born / DAY, calendar, operational)
    leave = np.interp(np.minimum(people.died, plan.seconds) / DAY, calendar, operational)
    for start, end, factor in ((begin, leave, 1.0), (leave, operational[-1], TRICKLE)):
        count = rng.poisson(keen * factor * np.maximum(end - start, 0))
        who = np.repeat(np.arange(n), count)
        width = np.repeat(np.maximum(end - start, 0), count)
        tau = start[who] + rng.random(len(who)) * width
        when = (np.interp(tau, operational, calendar) * DAY).astype(np.int64)
        when = np.clip(when, people.born[who] + HOUR, plan.seconds - HOUR)
        draw = rng.random(len(who))
        login = np.where(draw < 0.5, FROM_START, np.where(draw < 0.62, MIDWAY, NEVER))
        source = np.where(rng.random(len(who)) < 0.2, people.channel[who], NO_TRACE)
        add(when, who, own_device(who), login, source)

    # Before signing up, some have looked around from the same device.
    who = np.repeat(np.arange(n), rng.poisson(0.5, n))
    when = people.born[who] - (HOUR + rng.exponential(4 * DAY, len(who))).astype(np.int64)
    who, when = who[when > HOUR], when[when > HOUR]
    add(when, who, people.first_device[who], np.full(len(who), NEVER), people.channel[who])

    # Those who sign up and never buy.
    who = np.flatnonzero(~people.buys)
    add(
        people.born[who],
        who,
        people.first_device[who],
        np.full(len(who), MIDWAY),
        people.channel[who],
        signup=np.ones(len(who), dtype=bool),
    )

    # A click in a message opens a session.
    clicked = np.flatnonzero((touches.clicked >= 0) & (touches.clicked < plan.seconds - HOUR))
    who = touches.person[clicked]
    add(
        touches.clicked[clicked] + 2,
        who,
        own_device(who),
        np.full(len(who), FROM_START),
        -1 - touches.campaign[clicked],
    )

    # Visitors who never say who they are.
    n_visitors = rng.poisson(0.3 * n)
    device = first_visitor + np.arange(n_visitors)
    first_visitor += n_visitors
    again = np.repeat(np.arange(n_visitors), 1 + rng.poisson(0.25, n_visitors))
    when = np.interp(rng.random(len(again)) * operational[-1], operational, calendar) * DAY
    when = np.clip(when.astype(np.int64), HOUR, plan.seconds - HOUR)
    shares = np.cumsum([item.share for item in plan.channels])
    source = np.minimum(np.searchsorted(shares, rng.random(len(again))), len(shares) - 1)
    add(
        when,
        np.full(len(again), -1),
        device[again],
        np.full(len(again), NEVER),
        source,
        cluster=rng.integers(0, N_CLUSTERS, len(again)),
    )
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Sessions(*columns), first_visitor


def event_frame(
    plan: Plan,
    chunk: int,
    shop: Shop,
    catalogue: Catalogue,
    people: People,
    orders: Orders,
    touches: Touches,
    sessions: Sessions,
    reviewed: tuple[np.ndarray, ...],
    offset: int,
    session_offset: int,
) -> tuple[pl.DataFrame, np.ndarray]:
    """The raw events, ids from `offset` on, and each customer's moment of signup.

    `reviewed` is (person, product, moment) of the reviews that customers signed.
    """
    rng = plan.rng(chunk, 10)
    size = sessions.size
    has_order = sessions.order >= 0
    plain = ~has_order

    # Stage counts of each session, in the order in which a visit runs.
    page = (rng.random(size) < 0.3).astype(np.int64)
    search = (rng.random(size) < 0.15).astype(np.int64)
    lines = np.arange(len(orders.product))
    looked = lines[rng.random(len(lines)) < 0.7]
    session_of_order = np.flatnonzero(has_order)[np.argsort(sessions.order[has_order])]
    line_session = session_of_order[orders.line_order]
    view_line = np.bincount(line_session[looked], minlength=size)
    view_more = np.where(has_order, rng.poisson(0.15, size), 1 + rng.poisson(0.25, size))
    more_session = np.repeat(np.arange(size), view_more)
    taste = np.where(
        rng.random(len(more_session)) < 0.2,
        rng.integers(0, N_CLUSTERS, len(more_session)),
        sessions.cluster[more_session],
    )
    viewed = catalogue.draw(rng, taste, sessions.anchor[more_session])
    # Who looks at one of two that compete often looks at the other, too.
    within = line_session[looked]
    seen, against = (
        np.concatenate([within, more_session]),
        catalogue.rival[np.concatenate([orders.product[looked], viewed])],
    )
    compared = (against >= 0) & (rng.random(len(seen)) < plan.behaviour.rival_probability)
    compared = np.flatnonzero(compared)[np.argsort(seen[compared], kind="stable")]
    compare_session, compare_product = seen[compared], against[compared]
    view_rival = np.bincount(compare_session, minlength=size)
    social = (plain & (rng.random(size) < 0.04)).astype(np.int64)
    entry = (sessions.login == MIDWAY).astype(np.int64)
    line_cart = np.bincount(line_session, minlength=size)
    left_cart = (plain & (rng.random(size) < 0.09)).astype(np.int64)
    cart = np.where(has_order, line_cart, left_cart)
    remove = left_cart * (rng.random(size) < 0.35)
    checkout = np.where(has_order, rng.random(size) < 0.7, left_cart * (rng.random(size) < 0.2))
    checkout = checkout.astype(np.int64)
    counts = (
        page,
        search,
        view_line,
        view_more,
        view_rival,
        social,
        entry,
        cart,
        remove,
        checkout,
        has_order.astype(np.int64),
    )
    starts, total = [], np.zeros(size, dtype=np.int64)
    for count in counts:
        starts.append(total.copy())
        total += count
    gap = 8 + np.minimum(rng.exponential(30.0, size), 100).astype(np.int64)

    every = np.arange(size)
    blocks: list[tuple[np.ndarray, ...]] = []

    def add(kind, session, position, product, value=None, note=None):
        length = len(session)
        blocks.append(
            (
                np.full(length, kind) if np.isscalar(kind) else kind,
                session,
                position,
                product,
                np.full(length, np.nan) if value is None else value,
                np.full(length, -1) if note is None else note,
            )
        )

    def once(stage):
        who = every[counts[stage] > 0]
        return who, starts[stage][who], np.full(len(who), -1)

    who, position, nothing = once(0)
    add(TYPE["page_view"], who, position, nothing)
    who, position, nothing = once(1)
    sought = catalogue.draw(rng, sessions.cluster[who], sessions.anchor[who])
    n_notes = len(who)
    add(TYPE["search"], who, position, nothing, None, np.arange(n_notes))
    searches = labels(
        pl.Series([f'{{"query":"{noun}"}}' for noun in catalogue.nouns], dtype=pl.String), sought
    )
    add(TYPE["product_view"], within, starts[2][within] + _rank(within), orders.product[looked])
    add(TYPE["product_view"], more_session, starts[3][more_session] + _rank(more_session), viewed)
    add(
        TYPE["product_view"],
        compare_session,
        starts[4][compare_session] + _rank(compare_session),
        compare_product,
    )
    first_viewed = np.full(size, -1)
    first_viewed[more_session[::-1]] = viewed[::-1]
    who, position, nothing = once(5)
    add(SOCIAL[rng.integers(0, 4, len(who))], who, position, first_viewed[who])
    who, position, nothing = once(6)
    add(np.where(sessions.signup[who], TYPE["signup"], TYPE["login"]), who, position, nothing)
    add(
        TYPE["add_to_cart"],
        line_session,
        starts[7][line_session] + orders.line_number - 1,
        orders.product,
    )
    who = every[left_cart > 0]
    add(TYPE["add_to_cart"], who, starts[7][who], first_viewed[who])
    who, position, _ = once(8)
    add(TYPE["remove_from_cart"], who, position, first_viewed[who])
    who, position, nothing = once(9)
    add(TYPE["checkout"], who, position, nothing)
    who, position, nothing = once(10)
    bought = sessions.order[who]
    paid = np.round(orders.merchandise[bought] - orders.discount[bought], 2)
    add(TYPE["purchase"], who, position, nothing, paid, n_notes + np.arange(len(who)))
    purchases = pl.select(
        pl.lit('{"order_id":"') + orders.ids.gather(bought) + pl.lit('"}')
    ).to_series()
    notes = pl.concat([searches, purchases])

    kind, session, position, product, value, note = (
        np.concatenate(column) for column in zip(*blocks, strict=True)
    )
    ordering = has_order[session]
    final = position == total[session] - 1
    step = gap[session]
    jitter = np.where(ordering & final, 0, (rng.random(len(kind)) * 0.8 * step).astype(np.int64))
    back = np.where(ordering, (total[session] - 1) * step, 0)
    when = sessions.anchor[session] - back + position * step + jitter
    person = sessions.person[session]
    login = sessions.login[session]
    shown = (login == FROM_START) | ((login == MIDWAY) & (position >= starts[6][session]))
    person = np.where(shown, person, -1)
    device = sessions.device[session]
    source = np.where(position == 0, sessions.source[session], NO_TRACE)

    signed = kind == TYPE["signup"]
    created = people.born.copy()
    created[sessions.person[session[signed]]] = when[signed]

    # Messages and reviews happen outside sessions and know the customer, not the device.
    channel = np.array([item.channel for item in shop.campaigns])[touches.campaign]
    mails = touches.treated & (channel == "email")
    pushes = (touches.opened >= 0) & (channel == "push")
    outside = [
        (TYPE["email_sent"], np.flatnonzero(mails), touches.sent),
        (TYPE["email_open"], np.flatnonzero(mails & (touches.opened >= 0)), touches.opened),
        (TYPE["email_click"], np.flatnonzero(mails & (touches.clicked >= 0)), touches.clicked),
        (TYPE["push_open"], np.flatnonzero(pushes), touches.opened),
    ]
    more = [
        (
            np.full(len(at), code),
            moment[at],
            touches.person[at],
            np.full(len(at), -1),
            -1 - touches.campaign[at],
        )
        for code, at, moment in outside
    ]
    who, what, at = reviewed
    more.append((np.full(len(who), TYPE["review"]), at, who, what, np.full(len(who), NO_TRACE)))
    more_kind, more_when, more_person, more_product, more_source = (
        np.concatenate(column) for column in zip(*more, strict=True)
    )
    blank = np.full(len(more_kind), -1)
    kind = np.concatenate([kind, more_kind])
    when = np.concatenate([when, more_when])
    person = np.concatenate([person, more_person])
    product = np.concatenate([product, more_product])
    source = np.concatenate([source, more_source])
    session, device, note = (np.concatenate([x, blank]) for x in (session, device, note))
    value = np.concatenate([value, np.full(len(blank), np.nan)])

    order = np.argsort(when, kind="stable")
    kind, when, person, product, source, session, device, note, value = (
        x[order] for x in (kind, when, person, product, source, session, device, note, value)
    )
    inside = when < plan.seconds
    if not inside.all():
        kind, when, person, product, source, session, device, note, value = (
            x[inside] for x in (kind, when, person, product, source, session, device, note, value)
        )
    n = len(kind)
    channels, campaigns = plan.channels, shop.campaigns
    n_channels = len(channels)
    # Sources as one index: channels first, then campaigns.
    trace = np.where(source >= 0, source, np.where(source > NO_TRACE, n_channels - 1 - source, -1))
    campaign_source = {
        "email": "newsletter",
        "push": "app",
        "sms": "sms",
        "mail": "letter",
        "ads": "retargeting",
    }
    utm_source = [c.utm_source for c in channels] + [campaign_source[c.channel] for c in campaigns]
    utm_medium = [c.utm_medium for c in channels] + [c.channel for c in campaigns]
    utm_campaign = [None] * n_channels + [c.id for c in campaigns]
    referrer = [c.referrer for c in channels] + [None] * len(campaigns)
    sort = device * 7919 % 100
    app = (device >= 0) & (sort < 55)
    # Whether a device has the app is the device's own, so that shared ones agree.
    ios, android = app & (device % 10 < 3), app & (device % 10 >= 3) & (device % 10 < 6)
    platform = np.where(device < 0, -1, np.where(ios, 1, np.where(android, 2, 0)))
    landing = ("/", "/new", "/sale", "/about")
    url = np.where(kind == TYPE["page_view"], (when + session) % len(landing), -1)
    names = numbered("s", session_offset + 1 + np.arange(size), 8)
    # Devices are few beside events: name each once, then point at it.
    devices, device_index = np.unique(device, return_inverse=True)
    frame = pl.DataFrame(
        {
            "event_id": numbered("e", offset + 1 + np.arange(n), 9),
            "occurred_at": moments(plan, when),
            "event_type": labels(EVENT_TYPES, kind),
            "customer_id": labels(people.ids, person),
            "anonymous_id": labels(device_ids(devices), device_index),
            "session_id": labels(names, session),
            "product_id": labels(catalogue.ids(), product),
            "url": labels(landing, url),
            "referrer": labels(referrer, trace),
            "utm_source": labels(utm_source, trace),
            "utm_medium": labels(utm_medium, trace),
            "utm_campaign": labels(utm_campaign, trace),
            "device": labels(
                ("mobile", "desktop", "tablet"),
                np.where(device < 0, -1, np.where(sort < 55, 0, np.where(sort < 92, 1, 2))),
            ),
            "platform": labels(("web", "ios", "android"), platform),
            "value": pl.Series(value).fill_nan(None),
            "properties": labels(notes, note),
            "ingested_at": ingested(plan, rng, when),
        }
    )
    return frame, created


def _rank(session: np.ndarray) -> np.ndarray:
    """0, 1, 2, … within each run of equal numbers (equal numbers stand together)."""
    if not len(session):
        return np.zeros(0, dtype=np.int64)
    fresh = np.concatenate([[True], session[1:] != session[:-1]])
    begin = np.maximum.accumulate(np.where(fresh, np.arange(len(session)), 0))
    return np.arange(len(session)) - begin
