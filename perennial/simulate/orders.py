"""Orders: when customers buy, what is in the basket, what it costs, what comes back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from perennial.contract import accepted
from perennial.simulate import words
from perennial.simulate.catalogue import Catalogue, labels, masked, moments, numbered
from perennial.simulate.marketing import (
    CURRENCY_NAMES,
    CURRENCY_OF_COUNTRY,
    GUEST,
    SPAN,
    Shop,
    Touches,
    cause_labels,
)
from perennial.simulate.parameters import COUNTRIES, DAY, N_CLUSTERS, Plan
from perennial.simulate.people import People, ingested

STATUSES = accepted("orders", "status")


@dataclass
class Orders:
    """The orders of one chunk and their lines; order arrays sorted by moment.

    person is -1 for guests; `line_order` is the index of the order a line belongs to,
    lines sorted by order and line number; money is in the order's currency.
    """

    offset: int
    person: np.ndarray
    when: np.ndarray
    cause: np.ndarray
    country: np.ndarray
    currency: np.ndarray
    rate: np.ndarray
    coupon: np.ndarray
    discount: np.ndarray
    shipping: np.ndarray
    tax: np.ndarray
    status: np.ndarray
    merchandise: np.ndarray
    n_lines: np.ndarray
    line_order: np.ndarray
    line_number: np.ndarray
    product: np.ndarray
    quantity: np.ndarray
    unit_price: np.ndarray
    line_discount: np.ndarray

    @property
    def size(self) -> int:
        """Number of orders."""
        return len(self.when)

    @property
    def ids(self) -> pl.Series:
        """The orders' ids as text."""
        return numbered("o", self.offset + 1 + np.arange(self.size), 8)

    def who(self, people: People, index: np.ndarray | None = None) -> pl.Series:
        """The customers' ids of the orders (or of those at `index`); null for guests."""
        return labels(people.ids, self.person if index is None else self.person[index])


def own_orders(
    plan: Plan, chunk: int, people: People, edges: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The orders that customers place by themselves: (person, when in seconds).

    The first comes with the customer's arrival; repeats are a Poisson process of constant
    rate in operational time until dropout, so they are uniform there and are carried back.
    """
    rng = plan.rng(chunk, 3)
    calendar, operational = edges
    buyers = np.flatnonzero(people.buys)
    born = people.born[buyers] / DAY
    end = np.minimum(people.died[buyers], plan.seconds) / DAY
    begin_tau = np.interp(born, calendar, operational)
    width = np.interp(end, calendar, operational) - begin_tau
    repeats = rng.poisson(people.rate[buyers] * width)
    owner = np.repeat(np.arange(len(buyers)), repeats)
    tau = begin_tau[owner] + rng.random(len(owner)) * width[owner]
    when = (np.interp(tau, operational, calendar) * DAY).astype(np.int64)
    when = np.clip(when, people.born[buyers][owner] + 1, plan.seconds - 1)
    person = np.concatenate([buyers, buyers[owner]])
    return person, np.concatenate([people.born[buyers], when])


def place_orders(
    plan: Plan,
    chunk: int,
    offset: int,
    shop: Shop,
    catalogue: Catalogue,
    people: People,
    placed: tuple[np.ndarray, np.ndarray, np.ndarray],
    edges: tuple[np.ndarray, np.ndarray],
) -> Orders:
    """Fill the baskets of the orders `placed` (person, when, cause), and add the guests'."""
    rng = plan.rng(chunk, 5)
    person, when, cause = placed
    share = plan.behaviour.guest_share
    n_guests = rng.poisson(len(when) * share / (1 - share))
    calendar, operational = edges
    guest_when = np.interp(rng.random(n_guests) * operational[-1], operational, calendar) * DAY
    guest_when = np.clip(guest_when.astype(np.int64), 7200, plan.seconds - 1)
    person = np.concatenate([person, np.full(n_guests, -1)])
    when = np.concatenate([when, guest_when])
    cause = np.concatenate([cause, np.full(n_guests, GUEST)])
    order = np.lexsort((person, when))
    person, when, cause = person[order], when[order], cause[order]
    n = len(when)

    shares = np.cumsum([row[1] for row in COUNTRIES])
    anywhere = np.minimum(
        np.searchsorted(shares, rng.random(n) * shares[-1], side="right"), len(shares) - 1
    )
    country = np.where(person >= 0, people.country[person], anywhere)
    cluster = np.where(person >= 0, people.cluster[person], rng.integers(0, N_CLUSTERS, n))
    currency = CURRENCY_OF_COUNTRY[country]
    rate = shop.rate(currency, when)

    # What goes into the basket: by taste, now and then the old favourite or something else.
    wanted = 1 + np.minimum(rng.poisson(0.42, n), 5)
    at = np.repeat(np.arange(n), wanted)
    strayed = rng.random(len(at)) < 0.12
    taste = np.where(strayed, rng.integers(0, N_CLUSTERS, len(at)), cluster[at])
    product = catalogue.draw(rng, taste, when[at])
    favourite = catalogue.draw(rng, people.cluster, people.born)
    often = (person[at] >= 0) & (rng.random(len(at)) < plan.behaviour.favourite_probability)
    product = np.where(often, favourite[person[at]], product)
    partner = catalogue.partner[product]
    joined = (partner >= 0) & (rng.random(len(at)) < plan.behaviour.pair_probability)
    unique = np.unique(
        np.concatenate([at, at[joined]]) * catalogue.size
        + np.concatenate([product, partner[joined]])
    )
    # Of two that compete an order has one.
    rival = catalogue.rival[unique % catalogue.size]
    against = unique - unique % catalogue.size + rival
    unique = unique[(rival < 0) | (against > unique) | ~np.isin(against, unique)]
    at, product = unique // catalogue.size, unique % catalogue.size
    n_lines = np.bincount(at, minlength=n)
    line_number = np.arange(len(at)) - np.repeat(np.cumsum(n_lines) - n_lines, n_lines) + 1
    cheap = catalogue.price[product] < 25
    quantity = 1 + rng.poisson(np.where(cheap, 0.4, 0.06))
    years_ago = (plan.seconds - when[at]) / DAY / 365.25
    unit_price = np.round(
        catalogue.price[product] * np.maximum(0.5, 1 - 0.03 * np.floor(years_ago)) / rate[at], 2
    )
    gross = np.round(unit_price * quantity, 2)
    on_sale = rng.random(len(at)) < plan.behaviour.sale_line_share
    line_discount = np.where(
        on_sale, np.round(gross * rng.choice([0.1, 0.2, 0.3], len(at)), 2), 0.0
    )
    merchandise = np.round(np.bincount(at, gross - line_discount, minlength=n), 2)

    shipping = np.where(merchandise * rate < 50, np.round(4.9 / rate, 2), 0.0)
    status = np.select(
        [
            rng.random(n) < plan.behaviour.cancelled_share,
            plan.seconds - when < DAY,
            plan.seconds - when < 2 * DAY,
            plan.seconds - when < 6 * DAY,
        ],
        [4, 0, 1, 2],
        3,
    )
    coupon = np.full(n, -1)
    public = len(shop.coupons) - 2 + rng.integers(0, 2, n)
    smallest = np.array([item.min_spend or 0.0 for item in shop.coupons])
    uses = (rng.random(n) < 0.015) & (merchandise * rate >= smallest[public])
    coupon[uses] = public[uses]
    return Orders(
        offset,
        person,
        when,
        cause,
        country,
        currency,
        rate,
        coupon,
        np.zeros(n),
        shipping,
        np.zeros(n),
        status,
        merchandise,
        n_lines,
        at,
        line_number,
        product,
        quantity,
        unit_price,
        line_discount,
    )


def redeem(
    plan: Plan, chunk: int, shop: Shop, orders: Orders, touches: Touches
) -> tuple[np.ndarray, np.ndarray]:
    """Let granted coupons be used, then settle discounts, shipping and tax of all orders.

    Every treated touch of a campaign with a coupon is a grant. Returns the touches'
    indexes that are grants and the index of the order that used each (-1: none).
    """
    rng = plan.rng(chunk, 6)
    of_campaign = np.array([item.coupon for item in shop.campaigns])
    smallest = np.array([item.min_spend or 0.0 for item in shop.coupons])
    grants = np.flatnonzero(touches.treated & (of_campaign[touches.campaign] >= 0))
    code = of_campaign[touches.campaign[grants]]
    ends = np.array([item.ends for item in shop.coupons])[code]
    by_person = np.argsort(orders.person * SPAN + orders.when, kind="stable")
    keys = (orders.person * SPAN + orders.when)[by_person]
    person = touches.person[grants]
    place = np.searchsorted(keys, person * SPAN + touches.sent[grants])
    hit = place < len(keys)
    place = np.minimum(place, max(len(keys) - 1, 0))
    if len(keys):
        hit &= keys[place] < np.minimum(ends, plan.seconds) + person * SPAN
        hit &= keys[place] >= person * SPAN
        order = by_person[place]
    else:
        order = np.zeros(len(grants), dtype=np.int64)
    moved = orders.cause[order] == touches.campaign[grants] if len(keys) else hit
    hit &= rng.random(len(grants)) < np.where(moved, 0.9, 0.6)
    if len(keys):
        hit &= orders.merchandise[order] * orders.rate[order] >= smallest[code]
        # Windows of two campaigns may meet in one order, which takes one coupon only.
        _, first = np.unique(np.where(hit, order, -1 - np.arange(len(order))), return_index=True)
        single = np.zeros(len(order), dtype=bool)
        single[first] = True
        hit &= single
    used = np.where(hit, order, -1)
    orders.coupon[used[hit]] = code[hit]

    kind = np.array([("percent", "amount", "free_shipping").index(c.kind) for c in shop.coupons])
    value = np.array([item.value for item in shop.coupons])
    own_kind, own_value = kind[orders.coupon], value[orders.coupon]
    has = orders.coupon >= 0
    orders.discount = np.where(
        has & (own_kind == 0),
        np.round(orders.merchandise * own_value / 100, 2),
        np.where(
            has & (own_kind == 1),
            np.minimum(np.round(own_value / orders.rate, 2), orders.merchandise),
            0.0,
        ),
    )
    orders.shipping = np.where(has & (own_kind == 2), 0.0, orders.shipping)
    tax = np.array([row[4] for row in COUNTRIES])[orders.country]
    orders.tax = np.round((orders.merchandise - orders.discount) * tax, 2)
    return grants, used


def order_frames(
    plan: Plan, chunk: int, shop: Shop, catalogue: Catalogue, people: People, orders: Orders
) -> dict[str, pl.DataFrame]:
    """The raw orders and order items, and the truth about the orders."""
    rng = plan.rng(chunk, 7)
    ids, who = orders.ids, orders.who(people)
    arrived = ingested(plan, rng, orders.when)
    app = np.where(orders.person >= 0, people.app[orders.person], False)
    channel = np.where(rng.random(orders.size) < 0.04, 2, (app & (rng.random(orders.size) < 0.7)))
    has_coupon = orders.coupon >= 0
    raw = pl.DataFrame(
        {
            "order_id": ids,
            "customer_id": who,
            "ordered_at": moments(plan, orders.when),
            "status": labels(STATUSES, orders.status),
            "currency": labels(CURRENCY_NAMES, orders.currency),
            "sales_channel": labels(("web", "app", "store"), channel),
            "coupon_code": labels([item.code for item in shop.coupons], orders.coupon),
            "discount_amount": masked(pl.Series(orders.discount), has_coupon),
            "shipping_amount": orders.shipping,
            "tax_amount": orders.tax,
            "ingested_at": arrived,
        }
    )
    items = pl.DataFrame(
        {
            "order_id": ids.gather(orders.line_order),
            "line_number": orders.line_number,
            "product_id": catalogue.ids().gather(orders.product),
            "quantity": orders.quantity,
            "unit_price": orders.unit_price,
            "discount_amount": masked(pl.Series(orders.line_discount), orders.line_discount > 0),
            "ingested_at": arrived.gather(orders.line_order),
        }
    )
    truth = pl.DataFrame(
        {"order_id": ids, "customer_id": who, "cause": cause_labels(shop, orders.cause)}
    )
    return {"orders": raw, "order_items": items, "truth": truth}


def grant_frame(
    plan: Plan,
    shop: Shop,
    people: People,
    orders: Orders,
    touches: Touches,
    grants: np.ndarray,
    used: np.ndarray,
    offset: int,
) -> pl.DataFrame:
    """The raw coupon grants, ids from `offset` on."""
    codes = [item.code for item in shop.coupons]
    of_campaign = np.array([item.coupon for item in shop.campaigns])
    campaign = touches.campaign[grants]
    return pl.DataFrame(
        {
            "grant_id": numbered("g", offset + 1 + np.arange(len(grants)), 8),
            "coupon_code": labels(codes, of_campaign[campaign]),
            "customer_id": people.ids.gather(touches.person[grants]),
            "granted_at": moments(plan, touches.sent[grants]),
            "campaign_id": labels([item.id for item in shop.campaigns], campaign),
            "redeemed_order_id": labels(orders.ids, used),
            "propensity": touches.propensity[grants],
        }
    )


def refund_frame(
    plan: Plan, chunk: int, catalogue: Catalogue, people: People, orders: Orders, offset: int
) -> pl.DataFrame:
    """The raw refunds: whole orders or single lines, days to weeks after the order."""
    rng = plan.rng(chunk, 8)
    chosen = (rng.random(orders.size) < plan.behaviour.refund_share) & (orders.status != 4)
    after = (3 * DAY + rng.gamma(2.0, 6.0 * DAY, orders.size)).astype(np.int64)
    chosen &= orders.when + after < plan.seconds
    order = np.flatnonzero(chosen)
    n = len(order)
    at = orders.when[order] + after[order]
    whole = (rng.random(n) < 0.4) | (orders.n_lines[order] == 1)
    first = np.cumsum(orders.n_lines)[order] - orders.n_lines[order]
    line = first + (rng.random(n) * orders.n_lines[order]).astype(np.int64)
    paid = orders.merchandise[order] - orders.discount[order]
    net = orders.unit_price[line] * orders.quantity[line] - orders.line_discount[line]
    share = np.where(
        orders.merchandise[order] > 0, net / np.maximum(orders.merchandise[order], 0.01), 0.0
    )
    amount = np.round(np.where(whole, paid, np.minimum(paid * share, paid)), 2)
    unlinked = (rng.random(n) < 0.2) & (orders.person[order] >= 0)
    single = ~whole
    return pl.DataFrame(
        {
            "refund_id": numbered("r", offset + 1 + np.arange(n), 7),
            "refunded_at": moments(plan, at),
            "amount": np.maximum(amount, 0.0),
            "order_id": masked(orders.ids.gather(order), ~unlinked),
            "customer_id": orders.who(people, order),
            "line_number": masked(pl.Series(orders.line_number[line]), single & ~unlinked),
            "product_id": masked(catalogue.ids().gather(orders.product[line]), single),
            "quantity": masked(pl.Series(orders.quantity[line]), single),
            "reason": labels(
                words.REFUND_REASONS,
                np.where(rng.random(n) < 0.85, rng.integers(0, len(words.REFUND_REASONS), n), -1),
            ),
            "ingested_at": ingested(plan, rng, at),
        }
    )
